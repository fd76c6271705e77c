//! The columns of an item's scores that a statistic reads.

use crate::error::{Error, Result};
use crate::outcome::Outcome;
use crate::stats::Statistic;

/// The columns of one item in the statistic's order; `None` where it has none of them and does not count.
pub(crate) fn read(statistic: Statistic, metric: &str, outcome: &Outcome) -> Result<Option<Vec<f64>>> {
    let columns = statistic.columns();
    let wrong = |reason: String| Error::Item { id: outcome.id.clone(), metric: metric.to_owned(), reason };
    if !columns.iter().any(|&column| outcome.scores.contains_key(column)) {
        return Ok(None);
    }
    let value = |&column: &&str| {
        outcome.scores.get(column).copied().ok_or_else(|| wrong(format!("it has no `{column}`")))
    };
    let values: Vec<f64> = columns.iter().map(value).collect::<Result<_>>()?;
    statistic.problem(&values).map_or(Ok(Some(values)), |problem| Err(wrong(problem)))
}
