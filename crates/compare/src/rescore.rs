//! Scoring stored outputs again, without running anything.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::outcome::Outcome;
use crate::run::{Evidence, Run};

/// Scores a run's outputs by new rules: a copy with new per-item scores, new metric values (primary first) and the next
/// revision, to be stored beside the old one.
///
/// `scorer` sees all outcomes at once, since items of a cluster may count only together, and returns one map for
/// each.
///
/// # Errors
/// [`Error::Record`] for a run without per-item outcomes, a scorer that returns too few maps or a score that no metric
/// is made from, and a metric no test item counts for; those of [`Metric::measure`].
pub fn rescore(
    run: &Run,
    metrics: &[Metric],
    scorer: impl FnOnce(&[Outcome]) -> Vec<BTreeMap<String, f64>>,
) -> Result<Run> {
    let wrong = |reason: String| Error::Record { id: run.record.id.clone(), reason };
    let Evidence::Items(outcomes) = &run.evidence else {
        return Err(wrong("it has no per-item outcomes to score again".into()));
    };
    let scores = scorer(outcomes);
    if scores.len() != outcomes.len() {
        return Err(wrong(format!("{} outcomes got {} scores", outcomes.len(), scores.len())));
    }
    let known: BTreeSet<&str> = metrics.iter().flat_map(Metric::columns).collect();
    if let Some(name) = scores.iter().flat_map(BTreeMap::keys).find(|name| !known.contains(name.as_str())) {
        return Err(wrong(format!("the scorer returned `{name}`, which is not among its metrics")));
    }
    let outcomes: Vec<Outcome> =
        outcomes.iter().zip(scores).map(|(outcome, scores)| Outcome { scores, ..outcome.clone() }).collect();
    let mut record = run.record.clone();
    record.revision += 1;
    record.metrics = metrics
        .iter()
        .map(|metric| {
            let value = metric.measure(&outcomes)?;
            value.ok_or_else(|| wrong(format!("no test item counts for `{}`", metric.name)))
        })
        .collect::<Result<_>>()?;
    Ok(Run { record, evidence: Evidence::Items(outcomes) })
}
