//! What a run does: a task file, a method file, and what is laid over them.
//!
//! Precedence, weakest first: defaults of the method's crate, method file, suite, scenario or sweep, `--config`, `--set`, flags.

mod experiment;
mod grid;
mod method_file;
mod overlay;
mod provided;
mod scenario;
mod sweep;

pub use experiment::{
    Experiment, RunOptions, parse_dtype, parse_quantization, read_task, resolve, resolve_with, storage_or,
};
pub use grid::{Grid, Point};
pub use method_file::{MethodConfig, OptimizerConfig};
pub use overlay::{Assignment, Overlay, Suite};
pub use provided::{method_file, scenarios, suite_file, suites, sweeps};
pub use scenario::{AblationPlan, CheckPlan, ContinualPlan, MergePlan, PacePlan, Scenario, Search};
pub use sweep::Sweep;
