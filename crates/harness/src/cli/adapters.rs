//! Options of the commands that work on saved adapters.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use merging::{Election, Recipe};

use super::{ModelArgs, StorageArgs, TaskArgs};
use crate::export::Reader;
use crate::{Error, Result};

/// Options of `merge`.
#[derive(Clone, Debug, Args)]
pub struct MergeArgs {
    /// Adapter folders (PEFT format), of any methods. Where the update is no product of two thin matrices, as DoRA's, `cat`
    /// needs `--into-model`, and the ways that work on updates need `--rank`.
    #[arg(required = true, value_name = "DIR")]
    pub adapters: Vec<PathBuf>,
    /// How.
    #[command(flatten)]
    pub merging: MergingArgs,
    /// Rank after truncation [default: that of the largest adapter].
    #[arg(long, value_name = "R")]
    pub rank: Option<i64>,
    /// Folder for the merged adapter.
    #[arg(long, value_name = "DIR", required_unless_present = "into_model")]
    pub out: Option<PathBuf>,
    /// Folder for a model with the merge in its weights instead: every way then works on whole updates, and no rank is lost.
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    pub into_model: Option<PathBuf>,
    /// The base, where an adapter's file alone does not hold its update [default: the one that the adapter names].
    #[command(flatten)]
    pub model: ModelArgs,
}

/// How adapters are combined.
#[derive(Clone, Debug, Args)]
pub struct MergingArgs {
    /// `cat` (the exact weighted sum), `linear`, `magnitude_prune`, `ties`, `dare_linear`, `dare_ties`, `svd`, or one of the
    /// pruning ones with `_svd`: on the updates instead of the factors.
    #[arg(long, default_value = "cat", value_name = "WAY")]
    pub how: String,
    /// A weight for each adapter [default: 1 each].
    #[arg(long, value_delimiter = ',', value_name = "W,…", allow_negative_numbers = true)]
    pub weights: Vec<f64>,
    /// Share of the entries that pruning keeps.
    #[arg(long, default_value_t = 0.7, value_name = "SHARE")]
    pub density: f64,
    /// How TIES elects the sign of an entry: by the sum of values, or of signs.
    #[arg(long, default_value = "total", value_name = "BY")]
    pub election: Vote,
    /// Of random pruning.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

impl MergingArgs {
    /// As the `merging` crate says it.
    ///
    /// # Errors
    /// For an unknown way, and settings that it cannot have.
    pub fn recipe(&self, rank: Option<i64>) -> Result<Recipe> {
        let election = match self.election {
            Vote::Total => Election::Total,
            Vote::Frequency => Election::Frequency,
        };
        Ok(Recipe::named(&self.how, self.density, election, rank)?)
    }

    /// A weight for each of `count` adapters.
    ///
    /// # Errors
    /// If their number is another.
    pub fn weights_of(&self, count: usize) -> Result<Vec<f64>> {
        match self.weights.len() {
            0 => Ok(vec![1.0; count]),
            given if given == count => Ok(self.weights.clone()),
            given => {
                Err(Error::Usage(format!("{given} weights for {count} adapters: one for each is needed")))
            }
        }
    }
}

/// Options of `fidelity`.
#[derive(Clone, Debug, Args)]
pub struct FidelityArgs {
    /// Adapter folders (PEFT format) of one base; of several, their merge is compared with each, too.
    #[arg(required = true, value_name = "DIR")]
    pub adapters: Vec<PathBuf>,
    /// The base [default: the one that the first adapter names].
    #[command(flatten)]
    pub model: ModelArgs,
    /// Also score every form on these tasks, and compare on their tests instead of on what the model itself writes.
    #[arg(long, value_delimiter = ',', value_name = "TASK,…")]
    pub task: Vec<String>,
    /// What tasks need besides their files.
    #[command(flatten)]
    pub tasks: TaskArgs,
    /// Texts to compare logits on, of each task.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = texts)]
    pub texts: usize,
    /// How several adapters are merged.
    #[command(flatten)]
    pub merging: MergingArgs,
    /// Folder for `fidelity.json`, and `summary.json` with the scores.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print nothing but the tables.
    #[arg(long)]
    pub quiet: bool,
}

fn texts(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "expected a number of 1 or more".to_owned())
}

/// Options of `interference`.
#[derive(Clone, Debug, Args)]
pub struct InterferenceArgs {
    /// Adapter folders (PEFT format), of any methods.
    #[arg(required = true, value_name = "DIR")]
    pub adapters: Vec<PathBuf>,
    /// The base, where an adapter's file alone does not hold its update [default: the one that the adapter names].
    #[command(flatten)]
    pub model: ModelArgs,
    /// A line for every module, too.
    #[arg(long)]
    pub modules: bool,
    /// Draw the cosines into this SVG file.
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
}

/// An election of signs.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Vote {
    /// By the sum of the values.
    Total,
    /// By the sum of the signs.
    Frequency,
}

/// Options of `merge-into-base`.
#[derive(Clone, Debug, Args)]
pub struct MergeIntoBaseArgs {
    /// Adapter folder (PEFT format).
    #[arg(long, value_name = "DIR")]
    pub adapter: PathBuf,
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// How its frozen layers are stored.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// Folder for the merged model.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Options of `export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// Adapter folder (PEFT format).
    pub adapter: PathBuf,
    /// The program.
    #[arg(long = "for", value_name = "PROGRAM")]
    pub reader: Reader,
    /// Folder for the adapter in that form.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The model that the adapter was made for [default: the one it names].
    #[command(flatten)]
    pub model: ModelArgs,
}

/// Options of `doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Adapter folder (PEFT format).
    pub adapter: PathBuf,
    /// The model to try it on; without `--model` only the files are looked at.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Print JSON instead of lines.
    #[arg(long)]
    pub json: bool,
}
