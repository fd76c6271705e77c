//! Options of the commands that run more than a suite.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::RunArgs;
use crate::scenario::{Emit, Shard};
use crate::tune::{Budget, Strategy};

/// Options of `plan`.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// Options of `run`.
    #[command(flatten)]
    pub run: RunArgs,
    /// Records of the same tasks, from which it is estimated how often methods disagree and how much seeds differ [default:
    /// assumed, as said below the table]; repeatable.
    #[arg(long, value_name = "PATH")]
    pub from: Vec<PathBuf>,
    /// The difference that is to be found, in points.
    #[arg(long, default_value_t = 1.0, value_name = "POINTS", value_parser = points)]
    pub tell: f64,
}

fn points(text: &str) -> Result<f64, String> {
    let points: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if points > 0.0 && points < 100.0 {
        Ok(points)
    } else {
        Err("expected a number between 0 and 100".to_owned())
    }
}

/// Options of `continual`.
#[derive(Clone, Debug, Args)]
pub struct ContinualArgs {
    /// Options of `run`; tasks are learned in the order in which `--task` names them.
    #[command(flatten)]
    pub run: RunArgs,
    /// Share of every earlier task's training items that each later stage also sees, 0 to 1.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub replay: f64,
    /// Also learn all tasks at once, in as many steps: what a sequence could reach.
    #[arg(long)]
    pub joint: bool,
}

/// Options of `tune`.
#[derive(Clone, Debug, Args)]
pub struct TuneArgs {
    /// Options of `run`. Trials train with the first seed; what they choose is then trained and scored with all of them.
    #[command(flatten)]
    pub run: RunArgs,
    /// Learning rates tried for every method on every task, the default one among them.
    #[arg(long, default_value_t = 6, value_name = "K", value_parser = clap::value_parser!(u64).range(1..=64))]
    pub budget: u64,
    /// How they are chosen.
    #[arg(long, default_value = "climb", value_name = "HOW")]
    pub strategy: Strategy,
    /// Ratio of neighboring learning rates.
    #[arg(long, default_value_t = 2.0, value_name = "RATIO", value_parser = ratio)]
    pub factor: f64,
    /// Also over this setting, as in `method.rank=8,16`: the whole budget for each of its values; repeatable.
    #[arg(long, value_name = "KEY=VALUE,…")]
    pub over: Vec<String>,
    /// Only search: leave out the runs with what was chosen and with the defaults, whose test scores are compared.
    #[arg(long)]
    pub trials_only: bool,
}

impl TuneArgs {
    /// What is spent on each method, task and combination of other settings.
    pub fn budget(&self) -> Budget {
        Budget { rates: self.budget as usize, factor: self.factor, strategy: self.strategy }
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if ratio.is_finite() && ratio > 1.0 { Ok(ratio) } else { Err("expected a number above 1".to_owned()) }
}

/// Options of `sweep`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
A sweep in one file:
  name = \"my-sweep\"
  description = \"Which rank and rate\"
  suite = \"mini\"                        # `mini` where it says nothing
  methods = [\"lora\", \"dora\"]
  tasks = [\"nlu\", \"math\"]              # all of the suite where it says nothing
  seeds = 3
  [settings.task]                       # the same for every cell, as in a `--config` file
  training.steps = 200
  [grid]                                # every combination of these
  \"method.rank\" = [4, 16]
  \"methods.lora.optimizer.lr\" = [1e-3, 4e-3]

  harness sweep my-sweep.toml --plan                   what would be run, and what is finished
  harness sweep my-sweep.toml                          run it; given again, it goes on and repeats nothing
  harness sweep my-sweep.toml --shard 2/4              the second of four parts, beside the others
  harness sweep my-sweep.toml --emit slurm --shards 4  a script that runs all parts")]
pub struct SweepArgs {
    /// A provided sweep (`harness list sweeps`), or a file.
    #[arg(value_name = "FILE")]
    pub file: String,
    /// Run only part I of N, counted from 1. Several parts may be run at the same time into one `--out`; without this
    /// option, what they have finished is put into one table.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// List the cells and which are finished, and run nothing.
    #[arg(long, visible_alias = "dry-run")]
    pub plan: bool,
    /// Print what runs all shards, with the options given here, and run nothing.
    #[arg(long, value_name = "HOW", conflicts_with_all = ["plan", "shard"])]
    pub emit: Option<Emit>,
    /// Number of shards for `--emit`, or as many as can be [default: 4].
    #[arg(long, value_name = "N", requires = "emit", value_parser = clap::value_parser!(u64).range(1..))]
    pub shards: Option<u64>,
    /// Options of `run`, laid over what the file says; `--suite` is its own, and `--out` is `runs/NAME` if not given.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Options of `table`.
#[derive(Clone, Debug, Args)]
pub struct TableArgs {
    /// Tables, such as `lori-3` or `dora-1`; `diff A B` prints in which settings two differ. Without a name they are listed.
    #[arg(value_name = "TABLE")]
    pub names: Vec<String>,
    /// The paper's models and data, or the built-in suite, which only the order of the rows can be told from.
    #[arg(long, default_value = "paper")]
    pub scale: Scale,
    /// Say what would be run.
    #[arg(long)]
    pub plan: bool,
    /// Options of `run`, laid over what the table says; `--method`, `--task` and `--suite` are its own.
    #[command(flatten)]
    pub run: RunArgs,
}

/// The size of a table's runs.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Scale {
    /// The paper's.
    Paper,
    /// That of the built-in suite.
    Mini,
}
