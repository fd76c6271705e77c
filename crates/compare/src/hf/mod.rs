//! Exchange with Hugging Face PEFT's `method_comparison`: reading its result files into runs that stand in our tables,
//! and writing ours for its app.
//!
//! The suites `MetaMathQA` and `image-gen` are known; `text_generation_benchmark` measures speed only and is refused.
//! Facts of the format that import and export take care of:
//!
//! - the last row of `metrics` is the test row, all others are validation;
//! - `cuda_memory_*` are older names of `accelerator_memory_*`; `num_*_params`, `forgetting` and
//!   `peft_worktree_is_dirty` may be missing; `file_size` 99999999 means it could not be measured;
//! - the app drops runs whose status is not `success`, keeps the newest of each experiment, and puts 123 where
//!   `forgetting` or `drift` is missing; it was written by Python, so a number that is none may be a bare `NaN`;
//! - `forgetting` changed its meaning twice, so it carries the file's PEFT commit as its version;
//! - `train_time` holds the forgetting passes and the test generation besides the training steps, so tables show the
//!   sum of the windows' `train time` instead.

mod context;
mod export;
mod file;
mod folder;
mod import;
mod python;

pub use context::{Context, UnknownMemory};
pub use export::{export, file_name};
pub use file::{Extra, ExtraInterval, ExtraSeed, MetaInfo, MetricsRow, ResultFile, RunInfo, TrainInfo};
pub use folder::{Exported, export_folder};
pub use import::{Rules, import, import_folder, read};
pub(crate) use python::without_nan;

/// What the file format writes for a `file_size` that was not measured.
const UNMEASURED_SIZE: u64 = 99_999_999;

/// What the app shows for a missing `forgetting` or `drift`.
const PLACEHOLDER: f64 = 123.0;
