//! Comparisons that one file describes: single tasks, merges, sequences, ablations.

mod ablation;
mod merge;

pub use ablation::ablate;
pub use merge::merged;
