//! `[mini]`: the pack on the built-in suite.

use indexmap::IndexMap;
use serde::Deserialize;

use crate::overlay::Overlay;
use crate::procedure::Procedure;

/// How a pack maps onto a suite that any machine can run. Its scores are of another model on other data: only the order of
/// rows can be looked at.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mini {
    /// The suite.
    pub suite: String,
    /// Seeds of every run: with one, an order is hardly ever told.
    pub seeds: u64,
    /// Which task stands for which column.
    pub columns: IndexMap<String, String>,
    /// The rows that take part, of one model, with what is changed for them.
    pub rows: IndexMap<String, MiniRow>,
    /// Changes for all of them; what is not said here is as the suite says.
    #[serde(default)]
    pub settings: Overlay,
    /// Why the runs show no more than that the pack runs: then no order is checked.
    #[serde(default)]
    pub stand_in: Option<String>,
}

/// One row on the built-in suite.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MiniRow {
    /// Changes for this row.
    pub settings: Overlay,
    /// What is done with its method here, where it is not what the row says.
    pub procedure: Option<Procedure>,
}
