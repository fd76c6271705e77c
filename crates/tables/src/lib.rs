#![doc = include_str!("../README.md")]

mod cell;
mod check;
mod departures;
mod diff;
mod error;
mod mini;
mod order;
mod overlay;
mod pack;
mod plan;
mod procedure;
mod provided;
mod report;
mod score;
mod verdict;

pub use cell::{Cell, Grade, Origin};
pub use diff::{Difference, SettingsDiff, Side, diff};
pub use error::{Error, Result};
pub use mini::{Mini, MiniRow};
pub use order::{Claim, Order, OrderVerdict, PaperTells};
pub use overlay::Overlay;
pub use pack::{Better, Column, Deviation, Model, Pack, Paper, Row, Unit, Unsaid};
pub use plan::{Scale, Skipped, TableRun};
pub use procedure::{Merge, Procedure};
pub use provided::{provided, provided_names};
pub use report::{Measured, Report, report};
pub use score::Score;
pub use verdict::{AGREEMENT_WIDTH, Finding, PaperScore, Reason, Verdict, judge};
