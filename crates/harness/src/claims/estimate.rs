//! Figures with intervals, and what follows from them.

use compare::stats::{Interval, Settings};
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// A figure with its 95 % interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// What it is of.
    pub what: String,
    /// The point.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What an interval says of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The whole interval is on the claim's side of the bound.
    Holds,
    /// The whole interval is on the other side.
    DoesNotHold,
    /// The bound is inside the interval.
    CannotTell,
}

impl Verdict {
    /// In words.
    pub fn label(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::DoesNotHold => "does not hold",
            Self::CannotTell => "cannot tell",
        }
    }

    /// Of a claim with several parts: it holds where all do, and fails where one does.
    pub fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let parts: Vec<Self> = parts.into_iter().collect();
        if parts.contains(&Self::DoesNotHold) {
            Self::DoesNotHold
        } else if parts.contains(&Self::CannotTell) {
            Self::CannotTell
        } else {
            Self::Holds
        }
    }
}

impl Estimate {
    /// A point with an interval that something else made.
    pub fn new(what: impl Into<String>, value: f64, interval: Interval) -> Self {
        Self { what: what.into(), value, low: interval.low, high: interval.high }
    }

    /// The mean of independent `values` with Student's interval. One value alone has an interval without ends, which
    /// decides nothing.
    pub fn of_mean(what: impl Into<String>, values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let half = if values.len() < 2 {
            f64::INFINITY
        } else {
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
            let student = StudentsT::new(0.0, 1.0, n - 1.0).expect("degrees of freedom are positive");
            student.inverse_cdf(1.0 - Settings::default().alpha() / 2.0) * (variance / n).sqrt()
        };
        Self { what: what.into(), value: mean, low: mean - half, high: mean + half }
    }

    /// The mean of `values` that are known exactly, with all of them inside.
    pub fn range(what: impl Into<String>, values: &[f64]) -> Self {
        let ends = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| {
            (low.min(value), high.max(value))
        });
        let value = values.iter().sum::<f64>() / values.len() as f64;
        Self { what: what.into(), value, low: ends.0, high: ends.1 }
    }

    /// The median with the order statistics between which the true one lies, whatever the distribution.
    pub fn of_median(what: impl Into<String>, values: &[f64]) -> Self {
        /// Of a standard normal: 95 % lie within.
        const Z: f64 = 1.96;
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len() as f64;
        let half = Z * n.sqrt() / 2.0;
        let at = |position: f64| sorted[(position.max(0.0) as usize).min(sorted.len() - 1)];
        let (low, high) = (at((n / 2.0 - half).floor() - 1.0), at((n / 2.0 + half).ceil()));
        Self { what: what.into(), value: at(n / 2.0), low, high }
    }

    /// Of "it is more than `bound`".
    pub fn above(&self, bound: f64) -> Verdict {
        if self.low > bound {
            Verdict::Holds
        } else if self.high <= bound {
            Verdict::DoesNotHold
        } else {
            Verdict::CannotTell
        }
    }

    /// Of "it is less than `bound`".
    pub fn below(&self, bound: f64) -> Verdict {
        if self.high < bound {
            Verdict::Holds
        } else if self.low >= bound {
            Verdict::DoesNotHold
        } else {
            Verdict::CannotTell
        }
    }

    /// Of "it lies between `low` and `high`".
    pub fn within(&self, low: f64, high: f64) -> Verdict {
        if low <= self.low && self.high <= high {
            Verdict::Holds
        } else if self.high < low || high < self.low {
            Verdict::DoesNotHold
        } else {
            Verdict::CannotTell
        }
    }

    /// `what value [low, high]`, times `scale`, with so many digits.
    pub fn text(&self, scale: f64, digits: usize) -> String {
        let Self { what, value, low, high } = self;
        format!("{what} {:+.digits$} [{:+.digits$}, {:+.digits$}]", scale * value, scale * low, scale * high)
    }
}

/// The slope of the line through `points` with the least squares.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let both = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>();
    both / points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>()
}

/// Several figures in one line.
pub fn listed(estimates: &[Estimate], scale: f64, digits: usize) -> String {
    estimates.iter().map(|estimate| estimate.text(scale, digits)).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(low: f64, high: f64) -> Estimate {
        Estimate { what: String::new(), value: f64::midpoint(low, high), low, high }
    }

    #[test]
    fn intervals_decide_and_points_do_not() {
        use Verdict::{CannotTell, DoesNotHold, Holds};
        assert_eq!([with(0.1, 0.3).above(0.0), with(-0.1, 0.3).above(0.0)], [Holds, CannotTell]);
        assert_eq!([with(-0.3, -0.1).above(0.0), with(-0.3, -0.1).below(0.0)], [DoesNotHold, Holds]);
        assert_eq!(with(0.1, 0.3).below(0.0), DoesNotHold);
        assert_eq!(with(-0.55, -0.45).within(-0.6, -0.4), Holds);
        assert_eq!(with(-0.05, 0.05).within(-0.6, -0.4), DoesNotHold);
        assert_eq!(with(-0.65, -0.45).within(-0.6, -0.4), CannotTell);
        assert_eq!(Verdict::all([Holds, CannotTell, DoesNotHold]), DoesNotHold);
        assert_eq!(Verdict::all([Holds, CannotTell]), CannotTell);
        // An exact tie with the bound is no gain.
        assert_eq!(with(0.0, 0.0).above(0.0), DoesNotHold);
    }

    /// scipy.stats.t.interval(0.95, 2, loc=2, scale=1/sqrt(3)) = (-0.48413771, 4.48413771).
    #[test]
    fn the_interval_of_a_mean_is_students() {
        let estimate = Estimate::of_mean("", &[1.0, 2.0, 3.0]);
        assert!((estimate.low + 0.484_137_71).abs() < 1e-7 && (estimate.high - 4.484_137_71).abs() < 1e-7);
        assert_eq!(Estimate::of_mean("", &[5.0]).above(0.0), Verdict::CannotTell);
    }

    #[test]
    fn a_line_has_its_slope() {
        assert!((slope(&[(0.0, 1.0), (1.0, -1.0), (2.0, -3.0)]) + 2.0).abs() < 1e-12);
    }
}
