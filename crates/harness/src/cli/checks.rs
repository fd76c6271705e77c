//! Options of the commands that check what is here against others.

use std::path::PathBuf;

use clap::Args;

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
