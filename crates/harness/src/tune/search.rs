//! Which learning rate is tried next: arithmetic alone, nothing is trained here.

use std::cmp::Ordering;

use clap::ValueEnum;
use serde::Serialize;

/// How trials are spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// One after another at full length: away from the start while it gets better, then between the best and its neighbors.
    Climb,
    /// Successive halving (Jamieson and Talwalkar 2016): all rates of a fixed grid on short runs, the better half on runs
    /// twice as long, and so on; the last one at full length.
    Halving,
}

/// What is spent on one method, task and combination of other settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Budget {
    /// Learning rates tried.
    pub rates: usize,
    /// Ratio of neighboring rates.
    pub factor: f64,
    /// How they are chosen.
    pub strategy: Strategy,
}

/// How good a trial was on the validation split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The task's first metric, larger being better; none where the run failed or diverged.
    pub value: Option<f64>,
    /// The loss, which decides where metrics are equal.
    pub loss: Option<f64>,
}

impl Score {
    /// Of a run that came to nothing.
    pub const FAILED: Self = Self { value: None, loss: None };

    /// Which of two is better: the greater one.
    pub fn compare(&self, other: &Self) -> Ordering {
        let metric = |score: &Self| score.value.unwrap_or(f64::NEG_INFINITY);
        let loss = |score: &Self| score.loss.unwrap_or(f64::INFINITY);
        metric(self).total_cmp(&metric(other)).then(loss(other).total_cmp(&loss(self)))
    }
}

impl Budget {
    /// Searches from the rate `from`. `attempt(rate, share)` trains for `share` of the steps. Every search of one budget makes as many
    /// attempts of the same lengths, whatever it finds.
    ///
    /// # Errors
    /// Those of `attempt`, which ends the search.
    pub fn search<E>(
        &self,
        from: f64,
        mut attempt: impl FnMut(f64, f64) -> Result<Score, E>,
    ) -> Result<(), E> {
        match self.strategy {
            Strategy::Climb => {
                let mut tried: Vec<(f64, Score)> = Vec::new();
                while tried.len() < self.rates {
                    let at = next(&tried);
                    let score = attempt(self.rate(from, at), 1.0)?;
                    tried.push((at, score));
                    tried.sort_by(|a, b| a.0.total_cmp(&b.0));
                }
                Ok(())
            }
            Strategy::Halving => {
                let lowest = -((self.rates as f64 - 1.0) / 2.0).floor();
                let mut left: Vec<f64> = (0..self.rates).map(|index| lowest + index as f64).collect();
                let rounds = self.rates.ilog2() as i32;
                for round in 0..=rounds {
                    let share = 0.5_f64.powi(rounds - round);
                    let mut scored = Vec::new();
                    for &at in &left {
                        scored.push((at, attempt(self.rate(from, at), share)?));
                    }
                    scored.sort_by(|a, b| b.1.compare(&a.1));
                    left = scored.iter().take(left.len() / 2).map(|(at, _)| *at).collect();
                }
                Ok(())
            }
        }
    }

    /// `from · factorᵃᵗ`, to two digits; the start as it is.
    fn rate(&self, from: f64, at: f64) -> f64 {
        if at == 0.0 {
            return from;
        }
        let exact = from * self.factor.powf(at);
        format!("{exact:.1e}").parse().expect("a number prints as one")
    }
}

/// The place, in factors from the start, that is tried after `tried`, which is sorted by place.
fn next(tried: &[(f64, Score)]) -> f64 {
    let Some(best) = (0..tried.len()).max_by(|&a, &b| tried[a].1.compare(&tried[b].1)) else { return 0.0 };
    let at = tried[best].0;
    let below = best.checked_sub(1).map(|index| &tried[index]);
    match (below, tried.get(best + 1)) {
        (_, None) => at + 1.0,
        (None, Some(_)) => at - 1.0,
        (Some(below), Some(above)) => {
            let toward = if above.1.compare(&below.1).is_gt() { above.0 } else { below.0 };
            f64::midpoint(at, toward)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries of a method that is best at `peak`, and fails above `most`.
    fn tries(budget: Budget, peak: f64, most: f64) -> Vec<(f64, f64)> {
        let mut made = Vec::new();
        let attempt = |rate: f64, share: f64| {
            made.push((rate, share));
            let value = (rate <= most).then(|| -(rate / peak).ln().abs());
            Ok::<_, ()>(Score { value, loss: None })
        };
        budget.search(1e-3, attempt).unwrap();
        made
    }

    const CLIMB: Budget = Budget { rates: 6, factor: 2.0, strategy: Strategy::Climb };

    #[test]
    fn climbing_goes_on_while_it_gets_better_and_then_looks_between() {
        let rates: Vec<f64> = tries(CLIMB, 5e-3, 1.0).into_iter().map(|(rate, _)| rate).collect();
        assert_eq!(rates, [1e-3, 2e-3, 4e-3, 8e-3, 5.7e-3, 4.8e-3]);
        let rates: Vec<f64> = tries(CLIMB, 3e-4, 1.0).into_iter().map(|(rate, _)| rate).collect();
        assert_eq!(rates, [1e-3, 2e-3, 5e-4, 2.5e-4, 1.3e-4, 3.5e-4]);
    }

    #[test]
    fn a_run_that_fails_is_worse_than_any_other() {
        let rates: Vec<f64> = tries(CLIMB, 5e-3, 1.5e-3).into_iter().map(|(rate, _)| rate).collect();
        assert_eq!(rates, [1e-3, 2e-3, 5e-4, 7.1e-4, 8.4e-4, 9.2e-4]);
    }

    #[test]
    fn halving_spends_the_same_on_every_method() {
        let budget = Budget { rates: 4, factor: 2.0, strategy: Strategy::Halving };
        let made = tries(budget, 2e-3, 1.0);
        let expected = [
            (1e-3 / 2.0, 0.25),
            (1e-3, 0.25),
            (2e-3, 0.25),
            (4e-3, 0.25),
            (2e-3, 0.5),
            (1e-3, 0.5),
            (2e-3, 1.0),
        ];
        assert_eq!(made.len(), expected.len());
        for (made, expected) in made.iter().zip(expected) {
            assert!(made == &expected || (made.1 == 0.5 && expected.1 == 0.5), "{made:?} {expected:?}");
        }
        let lengths = |peak| tries(budget, peak, 1.0).into_iter().map(|(_, share)| share).collect::<Vec<_>>();
        assert_eq!(lengths(2e-3), lengths(1e-5));
        assert_eq!(made.last().unwrap(), &(2e-3, 1.0));
    }

    #[test]
    fn the_loss_decides_between_equal_metrics() {
        let score = |value, loss| Score { value: Some(value), loss: Some(loss) };
        assert!(score(0.5, 1.0).compare(&score(0.5, 2.0)).is_gt());
        assert!(score(0.6, 2.0).compare(&score(0.5, 1.0)).is_gt());
        assert!(Score::FAILED.compare(&score(0.0, 9.0)).is_lt());
    }
}
