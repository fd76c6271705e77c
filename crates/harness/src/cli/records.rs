//! Options of the commands that work on records.

use std::path::PathBuf;

use clap::Args;

use super::TaskArgs;

/// Options of `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// Folders of runs or of records, records, or results of PEFT's `method_comparison`.
    #[arg(required = true, value_name = "PATH")]
    pub records: Vec<PathBuf>,
    /// Folder for `report.html`, tables and plots [default: a new one under `runs/`].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Also write the results as files of PEFT's `method_comparison` to this folder.
    #[arg(long, value_name = "DIR")]
    pub peft: Option<PathBuf>,
    /// Coverage of the intervals; tests decide at what is left.
    #[arg(long, default_value_t = 0.95, value_name = "LEVEL", value_parser = confidence)]
    pub confidence: f64,
    /// Also print the tests between all pairs of methods.
    #[arg(long)]
    pub tests: bool,
}

/// Options of `rescore`.
#[derive(Clone, Debug, Args)]
pub struct RescoreArgs {
    /// Records, or folders of runs or of records; of each run the newest revision. The next one is written beside it, and the
    /// old one stays.
    #[arg(required = true, value_name = "PATH")]
    pub records: Vec<PathBuf>,
    /// Only records of this task, by the rules in it: a name or a file [default: all, each by the provided task of its name].
    #[arg(long, value_name = "TASK")]
    pub task: Option<String>,
    /// Where its items are, and what their scoring may do.
    #[command(flatten)]
    pub tasks: TaskArgs,
}

/// Options of `gate`.
#[derive(Clone, Debug, Args)]
pub struct GateArgs {
    /// Folder of runs or of records to compare with.
    #[arg(value_name = "BASELINE")]
    pub baseline: PathBuf,
    /// Folder of the new ones.
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
    /// How many times slower a training step may be.
    #[arg(long, default_value_t = compare::gate::Bounds::SLOWDOWN, value_name = "FACTOR", value_parser = factor)]
    pub max_slowdown: f64,
    /// Coverage of the intervals; tests decide at what is left.
    #[arg(long, default_value_t = 0.95, value_name = "LEVEL", value_parser = confidence)]
    pub confidence: f64,
}

fn confidence(text: &str) -> Result<f64, String> {
    let level: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (0.5..1.0).contains(&level) {
        Ok(level)
    } else {
        Err("expected a number from 0.5 up to, but below, 1".to_owned())
    }
}

fn factor(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if factor.is_finite() && factor > 0.0 { Ok(factor) } else { Err("expected a number above 0".to_owned()) }
}
