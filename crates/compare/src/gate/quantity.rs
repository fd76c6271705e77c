//! Measurements of a cell against those of the baseline.

use std::collections::BTreeSet;

use super::check::{Check, Finding, Verdict};
use super::measured::{Measured, Pace, Work};
use super::tolerance;
use crate::table::Cell;

/// What is compared of a cell besides its scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// Whether two runs give one adapter.
    Repetition,
    /// Losses of the first steps.
    Losses,
    /// Size of the update.
    UpdateNorm,
    /// Loss of validation items.
    EvaluationLoss,
    /// Values that train.
    Trainable,
    /// Size of the adapter's file.
    AdapterBytes,
    /// Operations dispatched in a step.
    Operations,
    /// Floating-point operations of a step.
    Flops,
    /// Bytes allocated in a step.
    AllocatedBytes,
    /// The most of them at once.
    PeakBytes,
    /// Time of a step over the floor's.
    Pace,
}

impl Quantity {
    /// All, as tables list them.
    pub const ALL: [Self; 11] = [
        Self::Repetition,
        Self::Losses,
        Self::UpdateNorm,
        Self::EvaluationLoss,
        Self::Trainable,
        Self::AdapterBytes,
        Self::Operations,
        Self::Flops,
        Self::AllocatedBytes,
        Self::PeakBytes,
        Self::Pace,
    ];

    /// Its name.
    pub fn label(self) -> &'static str {
        match self {
            Self::Repetition => "same bits",
            Self::Losses => "losses",
            Self::UpdateNorm => "update",
            Self::EvaluationLoss => "eval loss",
            Self::Trainable => "trainable",
            Self::AdapterBytes => "file",
            Self::Operations => "operations",
            Self::Flops => "FLOPs",
            Self::AllocatedBytes => "bytes",
            Self::PeakBytes => "peak",
            Self::Pace => "× floor",
        }
    }
}

/// A quantity, before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Which.
    pub quantity: Quantity,
    /// The baseline's.
    pub before: Cell,
    /// The new one's.
    pub after: Cell,
    /// How they differ, in a few characters.
    pub text: String,
}

/// How much slower a step may be, over the frozen floor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowance {
    /// On the baseline's processor, with as many threads.
    pub here: f64,
    /// On another one, where parts of a step gain or lose differently.
    pub elsewhere: f64,
}

/// Every quantity of a cell; `allowance` is the factor for its pace.
pub(super) fn changes(before: &Measured, after: &Measured, allowance: f64) -> Vec<Check> {
    let check = |(change, verdict): (Change, Verdict)| Check {
        task: before.task.clone(),
        method: before.method.clone(),
        finding: Finding::Quantity(Box::new(change)),
        verdict,
    };
    if before.settings != after.settings {
        let verdict =
            Verdict::Open("the baseline was measured with other settings; `--update` makes it anew".into());
        return vec![Check { finding: Finding::Nothing, ..check((repetition(after), verdict)) }];
    }
    let (old, new) = (&before.work, &after.work);
    let found = [
        (repetition(after), repeats(after)),
        losses(&before.losses, &after.losses),
        close(Quantity::UpdateNorm, before.update_norm, after.update_norm, tolerance::UPDATE_NORM),
        close(
            Quantity::EvaluationLoss,
            before.evaluation_loss,
            after.evaluation_loss,
            tolerance::EVALUATION_LOSS,
        ),
        equal(Quantity::Trainable, Cell::Quantity, before.trainable, after.trainable),
        at_most(
            Quantity::AdapterBytes,
            Cell::Bytes,
            [before.adapter_bytes, after.adapter_bytes],
            tolerance::BYTES,
        ),
        operations(old, new),
        at_most(Quantity::Flops, Cell::Quantity, [old.flops, new.flops], tolerance::WORK),
        at_most(
            Quantity::AllocatedBytes,
            Cell::Bytes,
            [old.allocated_bytes, new.allocated_bytes],
            tolerance::BYTES,
        ),
        at_most(Quantity::PeakBytes, Cell::Bytes, [old.peak_bytes, new.peak_bytes], tolerance::BYTES),
        pace(&before.pace, &after.pace, allowance),
    ];
    found.map(check).into()
}

fn repetition(after: &Measured) -> Change {
    let [first, second] = after.adapters.clone().map(|hash| hash[..hash.len().min(8)].to_owned());
    let text = if after.adapters[0] == after.adapters[1] { "yes" } else { "no" }.to_owned();
    Change { quantity: Quantity::Repetition, before: Cell::Text(first), after: Cell::Text(second), text }
}

/// The new set against itself: bits of another processor may be others.
fn repeats(after: &Measured) -> Verdict {
    if after.adapters[0] == after.adapters[1] {
        Verdict::Passes
    } else {
        Verdict::Fails("two runs with one seed gave different adapters".into())
    }
}

fn losses(before: &[f64], after: &[f64]) -> (Change, Verdict) {
    let apart: Vec<f64> = before.iter().zip(after).map(|(&b, &a)| relative(b, a).abs()).collect();
    // A difference that is no number is the largest there is.
    let place = |d: f64| if d.is_nan() { f64::INFINITY } else { d };
    let worst = (0..apart.len()).max_by(|&i, &j| place(apart[i]).total_cmp(&place(apart[j])));
    let largest = worst.map_or(0.0, |step| apart[step]);
    let last = |losses: &[f64]| Cell::known(losses.last().copied(), |loss| Cell::Text(format!("{loss:.4}")));
    let change = Change {
        quantity: Quantity::Losses,
        before: last(before),
        after: last(after),
        text: scientific(largest),
    };
    let verdict = match worst {
        _ if before.len() != after.len() => {
            Verdict::Fails(format!("{} losses, the baseline has {}", after.len(), before.len()))
        }
        Some(step) if !within(largest, tolerance::LOSS) => Verdict::Fails(format!(
            "the loss of step {} is {}, was {}; {:.0e} apart, allowed is {:.0e}",
            step + 1,
            after[step],
            before[step],
            largest,
            tolerance::LOSS
        )),
        _ => Verdict::Passes,
    };
    (change, verdict)
}

fn close(quantity: Quantity, before: f64, after: f64, tolerance: f64) -> (Change, Verdict) {
    let apart = relative(before, after);
    let cell = |value: f64| Cell::Text(format!("{value:.5}"));
    let change = Change { quantity, before: cell(before), after: cell(after), text: scientific(apart.abs()) };
    let verdict = if within(apart.abs(), tolerance) {
        Verdict::Passes
    } else {
        let label = quantity.label();
        Verdict::Fails(format!("{label} {:+.2} %, allowed are ±{:.2} %", 100.0 * apart, 100.0 * tolerance))
    };
    (change, verdict)
}

fn equal(quantity: Quantity, cell: fn(u64) -> Cell, before: u64, after: u64) -> (Change, Verdict) {
    let change = counted(quantity, cell, before, after);
    let verdict = if before == after {
        Verdict::Passes
    } else {
        Verdict::Fails(format!("{after} {}, was {before}", quantity.label()))
    };
    (change, verdict)
}

/// More fails; less is a gain.
fn at_most(
    quantity: Quantity,
    cell: fn(u64) -> Cell,
    [before, after]: [u64; 2],
    tolerance: f64,
) -> (Change, Verdict) {
    let change = counted(quantity, cell, before, after);
    let verdict = if after as f64 <= before as f64 * (1.0 + tolerance) {
        Verdict::Passes
    } else {
        Verdict::Fails(format!("{} {}: {after}, was {before}", quantity.label(), change.text))
    };
    (change, verdict)
}

fn operations(before: &Work, after: &Work) -> (Change, Verdict) {
    let totals = [before.total_operations(), after.total_operations()];
    let (change, verdict) = at_most(Quantity::Operations, Cell::Quantity, totals, tolerance::WORK);
    let verdict = match verdict {
        Verdict::Fails(reason) => Verdict::Fails(format!("{reason} ({})", risen(before, after))),
        other => other,
    };
    (change, verdict)
}

/// `aten::copy_ 120 more, aten::mm 7 more`: the operations of which there are most more.
fn risen(before: &Work, after: &Work) -> String {
    const NAMED: usize = 3;
    let names: BTreeSet<&String> = before.operations.keys().chain(after.operations.keys()).collect();
    let of = |work: &Work, name: &str| work.operations.get(name).copied().unwrap_or_default();
    let mut more: Vec<(u64, &String)> = names
        .into_iter()
        .map(|name| (of(after, name).saturating_sub(of(before, name)), name))
        .filter(|(more, _)| *more > 0)
        .collect();
    more.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let named: Vec<String> =
        more.iter().take(NAMED).map(|(more, name)| format!("{name} {more} more")).collect();
    named.join(", ")
}

fn pace(before: &Pace, after: &Pace, allowance: f64) -> (Change, Verdict) {
    let cell = |pace: &Pace| Cell::Text(format!("{:.2} [{:.2}, {:.2}]", pace.ratio, pace.low, pace.high));
    let change = Change {
        quantity: Quantity::Pace,
        before: cell(before),
        after: cell(after),
        text: format!("{:.2} [{:.2}, {:.2}]", after.ratio, after.low, after.high),
    };
    let verdict = match &after.refused {
        Some(reason) => Verdict::Open(format!("no speed: {reason}")),
        None if after.low > before.high * allowance => Verdict::Fails(format!(
            "a step takes {:.2} [{:.2}, {:.2}] of the floor's time, was {:.2} [{:.2}, {:.2}]; allowed is {allowance:.2} times as \
             much",
            after.ratio, after.low, after.high, before.ratio, before.low, before.high
        )),
        None => Verdict::Passes,
    };
    (change, verdict)
}

fn counted(quantity: Quantity, cell: fn(u64) -> Cell, before: u64, after: u64) -> Change {
    let percent = 100.0 * relative(before as f64, after as f64);
    let text = if before == after { "=".to_owned() } else { format!("{percent:+.2} %") };
    Change { quantity, before: cell(before), after: cell(after), text }
}

/// `(after − before) / |before|`, 0 where both are 0.
fn relative(before: f64, after: f64) -> f64 {
    if before == after { 0.0 } else { (after - before) / before.abs() }
}

/// Not so for what is no number.
fn within(apart: f64, tolerance: f64) -> bool {
    apart <= tolerance
}

fn scientific(value: f64) -> String {
    if value == 0.0 { "=".to_owned() } else { format!("{value:.0e}") }
}
