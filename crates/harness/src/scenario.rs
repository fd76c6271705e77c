//! Comparisons that one file describes: single tasks, merges, sequences, ablations, sweeps, and tables of papers.

mod adapted;
mod agenda;
mod emit;
mod merge;
mod paper;
mod shard;
mod sweep;

pub use adapted::{elsewhere, score_adapter};
pub use agenda::{Agenda, Cell, Subject};
pub use emit::{Emit, emit};
pub use merge::merged;
pub use paper::{Asked, measure};
pub use shard::{Shard, most_shards};
pub use sweep::{Swept, sweep};
