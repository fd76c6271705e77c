//! Two independent proportions: all that is left when per-item outcomes are not known.

use statrs::distribution::ContinuousCDF;

use super::interval::{Interval, IntervalKind, wilson};
use super::standard_normal;

/// A proportion of `n` items.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proportion {
    /// The fraction.
    pub value: f64,
    /// Items behind it.
    pub n: f64,
}

/// Two-sided p-value of the pooled z test.
pub fn z_test(a: Proportion, b: Proportion) -> f64 {
    let pooled = (a.value * a.n + b.value * b.n) / (a.n + b.n);
    let error = (pooled * (1.0 - pooled) * (1.0 / a.n + 1.0 / b.n)).sqrt();
    let difference = (a.value - b.value).abs();
    if difference == 0.0 { 1.0 } else { 2.0 * standard_normal().sf(difference / error) }
}

/// Newcombe's hybrid score interval of `a − b`: squares of the distances to the Wilson ends add (Stat. Med. 1998,
/// method 10).
pub fn newcombe(a: Proportion, b: Proportion, confidence: f64) -> Interval {
    let [wa, wb] = [a, b].map(|p| wilson(p.value * p.n, p.n, confidence));
    let difference = a.value - b.value;
    Interval {
        low: difference - (a.value - wa.low).hypot(wb.high - b.value),
        high: difference + (wa.high - a.value).hypot(b.value - wb.low),
        kind: IntervalKind::Newcombe,
    }
}

/// Cohen's `h = 2 asin √p − 2 asin √q`.
pub fn cohen_h(p: f64, q: f64) -> f64 {
    2.0 * (p.sqrt().asin() - q.sqrt().asin())
}
