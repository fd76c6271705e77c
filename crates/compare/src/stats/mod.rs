//! Intervals, paired tests, multiple comparisons and power.
//!
//! Distributions come from `statrs`; what stands here is what no library has. Everything is checked against numbers
//! from scipy, statsmodels, scikit-learn and sacrebleu (`tests/golden/`).

pub mod bootstrap;
mod cells;
pub mod crossed;
pub mod effect;
pub mod holm;
pub mod interval;
pub mod letters;
pub mod mcnemar;
pub mod nonlinear;
pub mod permutation;
pub mod power;
pub mod proportions;
pub mod sample;
pub mod scores;
pub mod statistic;

pub use interval::{Interval, IntervalKind, wilson};
pub use sample::Sample;
pub use scores::Scores;
pub use statistic::Statistic;

use statrs::distribution::{ContinuousCDF, Normal};

/// Settings shared by intervals and tests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Coverage of intervals; tests call a difference real at `1 − confidence`.
    pub confidence: f64,
    /// Resamples of a bootstrap or a Monte-Carlo permutation test.
    pub resamples: usize,
    /// Seed of their random stream: the same data give the same interval.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { confidence: 0.95, resamples: 5000, seed: 0 }
    }
}

impl Settings {
    /// The level at which tests decide.
    pub fn alpha(&self) -> f64 {
        // 1 − 0.95 is not 0.05 in floating point, and 0.05 is what is meant.
        ((1.0 - self.confidence) * 1e12).round() / 1e12
    }

    /// The two tail probabilities of an interval.
    pub(crate) fn tails(&self) -> [f64; 2] {
        [self.alpha() / 2.0, 1.0 - self.alpha() / 2.0]
    }
}

pub(crate) fn standard_normal() -> Normal {
    Normal::standard()
}

/// The two-sided critical value `z` with `P(|Z| < z) = confidence`.
pub(crate) fn critical_z(confidence: f64) -> f64 {
    standard_normal().inverse_cdf(f64::midpoint(1.0, confidence))
}
