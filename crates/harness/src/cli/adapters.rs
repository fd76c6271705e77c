//! Options of the commands that work on saved adapters.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{ModelArgs, StorageArgs};
use crate::export::Reader;

/// Options of `merge`.
#[derive(Clone, Debug, Args)]
pub struct MergeArgs {
    /// Adapter folders (PEFT format, plain LoRA layout).
    #[arg(required = true, value_name = "DIR")]
    pub adapters: Vec<PathBuf>,
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
    /// Rank after truncation [default: that of the largest adapter].
    #[arg(long, value_name = "R")]
    pub rank: Option<i64>,
    /// Of random pruning.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Folder for the merged adapter.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Options of `interference`.
#[derive(Clone, Debug, Args)]
pub struct InterferenceArgs {
    /// Adapter folders (PEFT format, plain LoRA layout).
    #[arg(required = true, value_name = "DIR")]
    pub adapters: Vec<PathBuf>,
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
