use serde::{Deserialize, Serialize};

use peft_core::{Error, Length, Result};

/// Settings of AdaLoRA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// r₀ ≥ target_rank: triplets of every site at the start.
    pub initial_rank: i64,
    /// r_T ≥ 1: triplets of a site at the end, on average.
    pub target_rank: i64,
    /// α > 0; c = α/(r₀ + 1e-5), whatever ranks remain.
    pub alpha: f64,
    /// Probability of zeroing an entry of the branch's input while training, in [0, 1).
    pub dropout: f64,
    /// t_i: steps before the budget falls.
    pub warmup: Length,
    /// t_f: steps after the last allocation, in which the ranks stay.
    pub fine_tuning: Length,
    /// ΔT ≥ 1: steps from one allocation to the next.
    pub interval: u64,
    /// β₁ of the sensitivity's moving average, in [0, 1).
    pub sensitivity_decay: f64,
    /// β₂ of the uncertainty's moving average, in [0, 1).
    pub uncertainty_decay: f64,
    /// γ ≥ 0: weight of the orthogonality in the training loss.
    pub orthogonality: f64,
    /// T: steps that the schedule is made for; those of the run where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_steps: Option<u64>,
}

impl Default for Config {
    /// The paper's: r₀ = 1.5·r_T, γ of most tasks, β of all, t_i and t_f near the shares of its longer runs.
    fn default() -> Self {
        Self {
            initial_rank: 12,
            target_rank: 8,
            alpha: 32.0,
            dropout: 0.0,
            warmup: Length::Fraction(0.1),
            fine_tuning: Length::Fraction(0.3),
            interval: 10,
            sensitivity_decay: 0.85,
            uncertainty_decay: 0.85,
            orthogonality: 0.1,
            total_steps: None,
        }
    }
}

impl Config {
    pub(crate) fn check(&self) -> Result<()> {
        if self.target_rank < 1 {
            return Err(Error::config("target_rank", self.target_rank, "a rank is at least 1"));
        }
        if self.initial_rank < self.target_rank {
            let reason = format!("less than `target_rank = {}`: budgets only fall", self.target_rank);
            return Err(Error::config("initial_rank", self.initial_rank, reason));
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return Err(Error::config("alpha", self.alpha, "alpha is a positive number"));
        }
        if self.interval == 0 {
            return Err(Error::config("interval", 0, "at least 1 step is needed"));
        }
        let fractions = [
            ("dropout", self.dropout),
            ("sensitivity_decay", self.sensitivity_decay),
            ("uncertainty_decay", self.uncertainty_decay),
        ];
        for (field, value) in fractions {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::config(field, value, "a number from 0 to below 1 is needed"));
            }
        }
        if !(self.orthogonality.is_finite() && self.orthogonality >= 0.0) {
            return Err(Error::config("orthogonality", self.orthogonality, "a weight is not negative"));
        }
        Ok(())
    }

    /// c: fixed by the initial rank, so that pruning does not scale what remains.
    pub(crate) fn scaling(&self) -> f64 {
        /// The reference code's.
        const EPSILON: f64 = 1e-5;
        self.alpha / (self.initial_rank as f64 + EPSILON)
    }
}
