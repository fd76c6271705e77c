//! Comparisons that one file describes: single tasks, merges, sequences, ablations, and tables of papers.

mod ablation;
mod adapted;
mod figure;
mod merge;
mod paper;
mod search;

pub use ablation::{Varied, ablate};
pub use adapted::{elsewhere, score_adapter, score_updates};
pub use figure::{by_method, by_weight, figure};
pub use merge::merged;
pub use paper::{Asked, measure};
pub use search::{Choice, choose};
