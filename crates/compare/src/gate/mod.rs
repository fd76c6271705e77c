//! A gate between two sets of runs: what got worse, and what got slower.

mod check;
mod table;

pub use check::{Bounds, Check, Finding, Gate, ScoreChange, Verdict, gate};
