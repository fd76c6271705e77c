//! Comparisons that one file describes: single tasks, merges, sequences, ablations, and tables of papers.

mod ablation;
mod adapted;
mod merge;
mod paper;

pub use ablation::ablate;
pub use adapted::{elsewhere, score_adapter};
pub use merge::merged;
pub use paper::{Asked, measure};
