//! Options of the commands that check what is here against others.

use std::path::PathBuf;

use clap::Args;

/// Options of `check`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Exit code: 0 nothing got worse, 1 something did, 2 it could not be checked (no baseline, other settings, \
                        a speed that was refused), 130 interrupted."
)]
pub struct CheckArgs {
    /// Folder to compare with: `check.json` and `records/`, as `--update` writes them.
    #[arg(long, default_value = "results/baseline/mini", value_name = "DIR")]
    pub baseline: PathBuf,
    /// What is run, and what is allowed: a scenario with a `[check]` section, provided or a file.
    #[arg(long, default_value = "check", value_name = "SCENARIO")]
    pub scenario: String,
    /// Make what this tree does the new baseline, and say what changed.
    #[arg(long)]
    pub update: bool,
    /// Folder for records, adapters and `check.json`; it can serve as a baseline [default: a new one under `runs/`].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Also write the outcome as Markdown, fit for a comment on a change.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Print every comparison, not one row for each cell.
    #[arg(long)]
    pub all: bool,
    /// No progress.
    #[arg(long)]
    pub quiet: bool,
}

/// Options of `claims`.
#[derive(Clone, Debug, Args)]
pub struct ClaimsArgs {
    /// Only these claims, separated by commas: names as the table prints them.
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub only: Vec<String>,
    /// Only those that train nothing: seconds.
    #[arg(long, conflicts_with = "only")]
    pub fast: bool,
    /// Seeds of every training.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// Optimizer steps of every training.
    #[arg(long, default_value_t = 120, value_name = "N", value_parser = clap::value_parser!(u64).range(20..))]
    pub steps: u64,
    /// Folder for records, finished cells and `claims.json`; what is finished there is not run again.
    #[arg(long, default_value = "runs/claims", value_name = "DIR")]
    pub out: PathBuf,
    /// Threads of one operation [default: one for each core].
    #[arg(long, value_name = "N")]
    pub threads: Option<u32>,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// No progress.
    #[arg(long)]
    pub quiet: bool,
}

/// Options of `parity`.
#[derive(Clone, Debug, Args)]
pub struct ParityArgs {
    /// Case folders, or folders of case folders.
    #[arg(required = true, value_name = "DIR")]
    pub cases: Vec<PathBuf>,
    /// Print JSON instead of lines.
    #[arg(long)]
    pub json: bool,
    /// Write the trained adapter of the (one) case here, in PEFT format.
    #[arg(long, value_name = "OUT")]
    pub save_adapter: Option<PathBuf>,
}
