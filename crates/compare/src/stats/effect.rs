//! Two methods compared: the difference, its interval, its p-value, and how large it is.

use super::interval::Interval;
use super::mcnemar::Discordance;
use super::proportions::{self, Proportion, cohen_h};
use super::scores::{Scores, sum};
use super::{Settings, bootstrap, crossed, permutation};

/// The result of comparing two methods on one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// `mean(a) − mean(b)`.
    pub difference: f64,
    /// Interval of the difference.
    pub interval: Interval,
    /// Two-sided p-value, not corrected for other comparisons.
    pub p_value: f64,
    /// The test behind it.
    pub test: Test,
    /// Conditional odds ratio with its exact interval; for paired right/wrong of one seed, unless only
    /// the first won items.
    pub odds_ratio: Option<OddsRatio>,
    /// Cohen's h, for right/wrong.
    pub cohen_h: Option<f64>,
    /// Cohen's d of the paired differences, mean over standard deviation between clusters (`d_z`); for paired scores that
    /// are not right/wrong, where the differences vary.
    pub cohen_d: Option<f64>,
}

/// Odds that of the items where two methods disagree the first is right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OddsRatio {
    /// The ratio.
    pub value: f64,
    /// Lower end of its interval.
    pub low: f64,
    /// Upper end of its interval.
    pub high: f64,
}

/// A test of "no difference".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Test {
    /// McNemar's mid-p, one seed of right/wrong on the same items.
    McNemarMidP,
    /// Paired permutation of clusters, one seed.
    Permutation,
    /// Student's t over items and seeds.
    CrossedT,
    /// z test of two independent proportions.
    TwoProportions,
}

impl Test {
    /// A name for table notes.
    pub fn label(self) -> &'static str {
        match self {
            Self::McNemarMidP => "McNemar mid-p",
            Self::Permutation => "paired permutation",
            Self::CrossedT => "paired t over items and seeds",
            Self::TwoProportions => "unpaired z test of proportions",
        }
    }
}

/// Compares two methods on the same clusters and seeds with the test that fits the data:
/// [`Discordance::mid_p`] for one seed of right/wrong on single items, [`crossed::paired_difference`] for several
/// seeds, [`permutation::paired`] otherwise.
///
/// # Panics
/// When the shapes differ or a side has no score.
pub fn paired(a: &Scores, b: &Scores, settings: &Settings) -> Effect {
    let difference = a.mean() - b.mean();
    assert!(!difference.is_nan(), "both sides have scores");
    let cohen_h = (a.is_binary() && b.is_binary()).then(|| cohen_h(a.mean(), b.mean()));
    let cohen_d = if cohen_h.is_none() { paired_d(a, b) } else { None };
    let effect = |interval, p_value, test| Effect {
        difference,
        interval,
        p_value,
        test,
        odds_ratio: None,
        cohen_h,
        cohen_d,
    };
    if let Some(items) = Discordance::of(a, b) {
        let odds_ratio = items
            .odds_ratio()
            .zip(items.odds_interval(settings.confidence))
            .map(|(value, (low, high))| OddsRatio { value, low, high });
        let interval = items.interval(settings.confidence);
        return Effect { odds_ratio, ..effect(interval, items.mid_p(), Test::McNemarMidP) };
    }
    if a.seeds() > 1 && a.clusters() > 1 {
        let crossed = crossed::paired_difference(a, b);
        return effect(crossed.interval(settings), crossed.p_value(), Test::CrossedT);
    }
    let (interval, _) = bootstrap::paired_difference(a, b, settings);
    effect(interval, permutation::paired(a, b, settings), Test::Permutation)
}

/// Mean over standard deviation of the clusters' differences, seeds averaged.
fn paired_d(a: &Scores, b: &Scores) -> Option<f64> {
    let differences: Vec<f64> =
        (0..a.clusters()).map(|row| sum(a.row(row)).mean() - sum(b.row(row)).mean()).collect();
    let n = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / n;
    let variance = differences.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (variance > 0.0).then(|| mean / variance.sqrt())
}

/// Compares two methods of which only proportions and item counts are known.
pub fn unpaired(a: Proportion, b: Proportion, settings: &Settings) -> Effect {
    Effect {
        difference: a.value - b.value,
        interval: proportions::newcombe(a, b, settings.confidence),
        p_value: proportions::z_test(a, b),
        test: Test::TwoProportions,
        odds_ratio: None,
        cohen_h: Some(cohen_h(a.value, b.value)),
        cohen_d: None,
    }
}
