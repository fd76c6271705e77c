//! A gate between two sets of runs: what got worse, and what got slower; and a check of one tree against another, which also
//! sees what it computes and how much work that is.

mod check;
mod comment;
mod measured;
mod overview;
mod quantity;
mod sides;
mod table;

pub mod power;
pub mod tolerance;

pub use check::{Bounds, Check, Finding, Gate, ScoreChange, Verdict, gate};
pub use comment::comment;
pub use measured::{Failure, Measured, Measurements, Pace, Work};
pub use quantity::{Allowance, Change, Quantity};
pub use sides::{Side, check};
