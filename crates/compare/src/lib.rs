#![doc = include_str!("../README.md")]

mod error;
mod metric;
mod migrate;
mod name;
mod outcome;
mod parts;
mod record;
mod rescore;
mod run;
mod store;

pub mod stats;

pub use error::{Error, Result};
pub use metric::{Aggregate, Better, Metric, MetricValue, Scale};
pub use migrate::{SCHEMA, parse};
pub use outcome::{Outcome, OutcomesFile, Split};
pub use parts::{Curves, DataSplit, Environment, Git, Memory, Model, Parameters, PhaseRecord, Point, Total};
pub use record::{BASE, RunRecord, Status, run_id};
pub use rescore::rescore;
pub use run::{Evidence, LeftOut, Run, Selection, latest};
pub use store::{Store, load};
