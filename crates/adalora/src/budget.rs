use peft_core::{Error, Result};

use crate::Config;

/// The course of the budget, in triplets over all sites:
///
/// `b(n) = b₀` for n ≤ t_i, `⌊(b₀ - b_T)·(1 - (n - t_i)/(T - t_f - t_i))³ + b_T⌋` up to T - t_f, `b_T` after it; n counts
/// steps from 1.
///
/// Source: the reference code; equation 14 of AdaLoRA (arXiv 2303.10512) has t_f in other places and is not continuous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// b₀.
    pub initial: i64,
    /// b_T.
    pub target: i64,
    /// t_i.
    pub warmup: u64,
    /// T - t_f: the step of the last allocation.
    pub last: u64,
    /// ΔT.
    pub interval: u64,
    /// T.
    pub total: u64,
}

/// What happens after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Importance is measured.
    Measure,
    /// Importance is measured and triplets beyond the budget are pruned, softly: they may come back.
    Allocate,
    /// Triplets beyond the target are pruned for good.
    Settle,
    /// The last pruning is applied again.
    Settled,
}

impl Budget {
    /// For a run of `total` steps over `sites` sites.
    ///
    /// # Errors
    /// [`Error::Config`] if no step is left to lower the budget in.
    pub fn new(config: &Config, sites: usize, total: u64) -> Result<Self> {
        let warmup = config.warmup.steps(total, "warmup")?;
        let last = total - config.fine_tuning.steps(total, "fine_tuning")?;
        if warmup >= last {
            let reason = format!("the last of {total} steps that may change ranks is {last}");
            return Err(Error::config("warmup", warmup, reason));
        }
        let sites = sites as i64;
        Ok(Self {
            initial: config.initial_rank * sites,
            target: config.target_rank * sites,
            warmup,
            last,
            interval: config.interval,
            total,
        })
    }

    /// b after step `n`, counted from 1.
    pub fn after(self, n: u64) -> i64 {
        if n <= self.warmup {
            return self.initial;
        }
        if n > self.last {
            return self.target;
        }
        let left = 1.0 - (n - self.warmup) as f64 / (self.last - self.warmup) as f64;
        ((self.initial - self.target) as f64 * left.powi(3) + self.target as f64) as i64
    }

    /// What happens after step `n`, counted from 1.
    pub fn moment(self, n: u64) -> Moment {
        match n.cmp(&self.last) {
            std::cmp::Ordering::Greater => Moment::Settled,
            std::cmp::Ordering::Equal => Moment::Settle,
            std::cmp::Ordering::Less if n > self.warmup && n.is_multiple_of(self.interval) => {
                Moment::Allocate
            }
            std::cmp::Ordering::Less => Moment::Measure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(initial: i64, target: i64, warmup: u64, last: u64) -> Budget {
        Budget { initial, target, warmup, last, interval: 1, total: last }
    }

    /// From `RankAllocator.budget_schedule` of peft 0.21.2.
    #[test]
    fn it_falls_as_in_peft() {
        let short = budget(24, 12, 2, 9);
        let course: Vec<i64> = (1..=12).map(|n| short.after(n)).collect();
        assert_eq!(course, [24, 24, 19, 16, 14, 12, 12, 12, 12, 12, 12, 12]);
        let long = budget(864, 576, 600, 6000); // the paper's RTE
        let at = [600, 601, 1500, 3000, 4200, 5400, 6000].map(|n| long.after(n));
        assert_eq!(at, [864, 863, 742, 625, 586, 576, 576]);
    }

    #[test]
    fn moments_follow_the_interval_and_end_with_settling() {
        use Moment::{Allocate as A, Measure as M, Settle as S, Settled as D};
        let budget = Budget { interval: 3, ..budget(8, 4, 2, 8) };
        let course: Vec<Moment> = (1..=10).map(|n| budget.moment(n)).collect();
        assert_eq!(course, [M, M, A, M, M, A, M, S, D, D]);
    }
}
