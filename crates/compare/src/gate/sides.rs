//! A check: scores and measurements of one tree against those of another.

use super::check::{Bounds, Check, Finding, Gate, Verdict, gate};
use super::measured::{Failure, Measurements};
use super::quantity::{Allowance, changes};
use crate::error::{Error, Result};
use crate::parts::Environment;
use crate::run::Run;

/// One side of a check.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The runs, with their outcomes.
    pub runs: &'a [Run],
    /// What was measured beside them.
    pub measurements: &'a Measurements,
}

/// Compares `new` with a `baseline`: scores as [`gate()`] does, then every [`super::Quantity`] of every cell. A cell that could be
/// measured once and cannot any more fails.
///
/// # Errors
/// Those of [`gate()`].
pub fn check(baseline: Side<'_>, new: Side<'_>, bounds: &Bounds, allowance: Allowance) -> Result<Gate> {
    let (before, after) = (baseline.measurements, new.measurements);
    let failed = |check: &Check| {
        after.failures.iter().any(|failure| (&failure.task, &failure.method) == (&check.task, &check.method))
    };
    let scores = match gate(baseline.runs, new.runs, bounds) {
        Err(Error::NothingCompared) if !after.failures.is_empty() => Vec::new(),
        scores => scores?.checks.into_iter().filter(|check| !failed(check)).collect(),
    };
    let allowance = if same_machine(&before.environment, &after.environment) {
        allowance.here
    } else {
        allowance.elsewhere
    };
    let mut checks = Vec::new();
    for old in &before.cells {
        let of_cell = |check: &&Check| check.task == old.task && check.method == old.method;
        checks.extend(scores.iter().filter(of_cell).cloned());
        if let Some(new) = after.cell(&old.task, &old.method) {
            checks.extend(changes(old, new, allowance));
        }
    }
    let unknown = |check: &Check| before.cell(&check.task, &check.method).is_none();
    checks.extend(scores.iter().filter(|check| unknown(check)).cloned());
    checks.extend(after.failures.iter().map(|Failure { task, method, reason }| Check {
        task: task.clone(),
        method: method.clone(),
        finding: Finding::Nothing,
        verdict: Verdict::Fails(reason.clone()),
    }));
    Ok(Gate { checks, bounds: *bounds })
}

/// Whether times of the two can be compared closely.
pub(super) fn same_machine(a: &Environment, b: &Environment) -> bool {
    (&a.device, &a.cpu, a.threads) == (&b.device, &b.cpu, b.threads)
}
