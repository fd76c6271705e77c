//! What a run does: a task file, a method file, and what is laid over them.
//!
//! Precedence, weakest first: defaults of the method's crate, method file, suite, scenario, `--config`, `--set`, flags.

mod experiment;
mod method_file;
mod overlay;
mod provided;
mod scenario;

pub use experiment::{
    Experiment, RunOptions, parse_dtype, parse_quantization, read_task, resolve, sibling, storage_or,
};
pub use method_file::{MethodConfig, OptimizerConfig};
pub use overlay::{Assignment, Overlay, Suite};
pub use provided::{method_file, scenarios, suite_file, suites};
pub use scenario::{AblationPlan, CheckPlan, ContinualPlan, MergePlan, PacePlan, Scenario};
