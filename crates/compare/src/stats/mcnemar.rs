//! Right/wrong on the same items: McNemar's test and the size of the difference.

use statrs::distribution::{Beta, Binomial, ContinuousCDF, Discrete, DiscreteCDF};

use super::critical_z;
use super::interval::{Interval, IntervalKind};
use super::scores::Scores;

/// How two methods agree on the same items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discordance {
    /// Items only the first got right.
    pub only_a: u64,
    /// Items only the second got right.
    pub only_b: u64,
    /// All items.
    pub items: u64,
}

impl Discordance {
    /// Counts two methods' items; `None` unless both are one seed of right/wrong, one score an item.
    pub fn of(a: &Scores, b: &Scores) -> Option<Self> {
        let fits = |s: &Scores| s.is_binary() && s.seeds() == 1 && s.is_one_item_per_cell();
        if !fits(a) || !fits(b) || a.clusters() != b.clusters() {
            return None;
        }
        let mut counts = Self { only_a: 0, only_b: 0, items: a.clusters() as u64 };
        for (a, b) in a.cells().iter().zip(b.cells()) {
            counts.only_a += u64::from(a.sum > b.sum);
            counts.only_b += u64::from(a.sum < b.sum);
        }
        Some(counts)
    }

    /// McNemar's mid-p: the exact binomial test of `only_a` against `only_b`, with half the weight on the observed
    /// table (Fagerland, Lydersen & Laake, BMC Med. Res. Methodol. 2013).
    ///
    /// ```
    /// # use compare::stats::mcnemar::Discordance;
    /// let p = Discordance { only_a: 15, only_b: 5, items: 100 }.mid_p();
    /// assert_eq!(format!("{p:.4}"), "0.0266");
    /// ```
    pub fn mid_p(&self) -> f64 {
        let (n, k) = (self.only_a + self.only_b, self.only_a.min(self.only_b));
        if self.only_a == self.only_b {
            return 1.0;
        }
        let binomial = Binomial::new(0.5, n).expect("one half is a probability");
        (2.0 * binomial.cdf(k) - binomial.pmf(k)).min(1.0)
    }

    /// Difference of the two proportions, `(only_a − only_b) / items`.
    pub fn difference(&self) -> f64 {
        (self.only_a as f64 - self.only_b as f64) / self.items as f64
    }

    /// Interval of the difference: Wald's after adding one item to each discordant cell (Bonett & Price,
    /// J. Educ. Behav. Stat. 2012). It has a width even where no item is discordant.
    pub fn interval(&self, confidence: f64) -> Interval {
        let n = self.items as f64 + 2.0;
        let (p, q) = ((self.only_a as f64 + 1.0) / n, (self.only_b as f64 + 1.0) / n);
        let half = critical_z(confidence) * ((p + q - (p - q).powi(2)) / n).sqrt();
        Interval {
            low: (p - q - half).max(-1.0),
            high: (p - q + half).min(1.0),
            kind: IntervalKind::BonettPrice,
        }
    }

    /// Conditional odds ratio `only_a / only_b`; `None` when only the first ever won, or nobody.
    pub fn odds_ratio(&self) -> Option<f64> {
        (self.only_b > 0).then(|| self.only_a as f64 / self.only_b as f64)
    }

    /// Exact interval `(low, high)` of the conditional odds ratio: Clopper–Pearson for `only_a` of the discordant items,
    /// as odds; the upper end is infinite when `only_b` is 0. `None` when no item is discordant.
    pub fn odds_interval(&self, confidence: f64) -> Option<(f64, f64)> {
        let (a, b) = (self.only_a as f64, self.only_b as f64);
        if a + b == 0.0 {
            return None;
        }
        let tail = (1.0 - confidence) / 2.0;
        let quantile =
            |x: f64, y: f64, p: f64| Beta::new(x, y).expect("counts make positive shapes").inverse_cdf(p);
        let odds = |p: f64| p / (1.0 - p);
        let low = if a == 0.0 { 0.0 } else { odds(quantile(a, b + 1.0, tail)) };
        let high = if b == 0.0 { f64::INFINITY } else { odds(quantile(a + 1.0, b, 1.0 - tail)) };
        Some((low, high))
    }
}
