#![doc = include_str!("../README.md")]

mod collect;
mod columns;
mod comparable;
mod distinct;
mod entry;
mod error;
mod metric;
mod migrate;
mod name;
mod outcome;
mod parts;
mod ranking;
mod record;
mod rescore;
mod run;
mod sequence;
mod store;
mod summary;

pub mod embed;
pub mod gate;
pub mod hf;
pub mod plot;
pub mod report;
pub mod stats;
pub mod table;

pub use collect::collect;
pub use distinct::distinct;
pub use entry::{Basis, Entry, Pooled, Replication, entries};
pub use error::{Error, Result};
pub use metric::{Aggregate, Better, Metric, MetricValue, Scale};
pub use migrate::{SCHEMA, parse};
pub use outcome::{Outcome, OutcomesFile, Split};
pub use parts::{
    Curves, DataFile, DataSplit, Environment, Git, Memory, Model, Parameters, PhaseRecord, Point, Total,
};
pub use ranking::{Comparison, Ranked, Ranking, rank, rank_all};
pub use record::{BASE, RunRecord, Status, run_id};
pub use rescore::rescore;
pub use run::{Evidence, LeftOut, Run, Selection, latest};
pub use sequence::Sequence;
pub use store::{Store, load, write_new, write_whole};
pub use summary::{Summary, SummaryRow, summarize};
