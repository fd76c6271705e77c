//! Options of the commands that run more than a suite.

use clap::{Args, ValueEnum};

use super::RunArgs;

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
