//! Comparisons that one file describes: single tasks, merges, sequences, ablations, sweeps, and tables of papers.

mod adapted;
mod agenda;
mod emit;
mod figure;
mod merge;
mod paper;
mod search;
mod shard;
mod sweep;

pub use adapted::{elsewhere, score_adapter, score_updates};
pub use agenda::{Agenda, Cell, Subject};
pub use emit::{Emit, emit};
pub use figure::{by_method, by_weight, figure};
pub use merge::merged;
pub use paper::{Asked, measure};
pub use search::{Choice, choose};
pub use shard::{Shard, most_shards};
pub use sweep::{Swept, sweep};
