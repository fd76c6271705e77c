use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use peft_core::low_rank::{Init, Ranks, Scaling};
use peft_core::{Length, Result};

use crate::LaunchSettings;

/// Settings of LoRA-Dash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// r ≥ 1.
    pub rank: i64,
    /// α > 0; scale of the low-rank part, α/r.
    pub alpha: f64,
    /// Probability of zeroing an entry of the branch's input while training, in [0, 1).
    pub dropout: f64,
    /// Distribution of A.
    pub init: Init,
    /// s: how many directions are trained, 1 ≤ s ≤ min(in, out).
    pub directions: i64,
    /// t: optimizer steps before the directions are chosen.
    pub launch: Length,
    /// How they are chosen.
    pub choice: Choice,
    /// ε > 0, added to the singular values.
    pub epsilon: f64,
    /// r by module name.
    pub rank_pattern: IndexMap<String, i64>,
    /// α by module name.
    pub alpha_pattern: IndexMap<String, f64>,
}

/// Which singular directions of W are trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// Those that the update has changed most in relation to their singular value.
    #[default]
    TaskSpecific,
    /// Those of the largest singular values (ablation).
    Top,
    /// Those of the smallest singular values (ablation).
    Bottom,
    /// A random set (ablation).
    Random,
}

impl Default for Config {
    /// s of the reference code. Its t = 100 belongs to runs of thousands of steps: here a tenth of the run.
    fn default() -> Self {
        Self {
            rank: 32,
            alpha: 64.0,
            dropout: 0.0,
            init: Init::default(),
            directions: 8,
            launch: Length::Fraction(0.1),
            choice: Choice::default(),
            epsilon: 1e-6,
            rank_pattern: IndexMap::new(),
            alpha_pattern: IndexMap::new(),
        }
    }
}

impl Config {
    pub(crate) fn ranks(&self) -> Result<Ranks> {
        Ranks::new(Scaling::AlphaOverRank, self.rank, self.alpha, &self.rank_pattern, &self.alpha_pattern)
    }

    pub(crate) fn launch_settings(&self) -> LaunchSettings {
        let Self { directions, launch, choice, epsilon, .. } = *self;
        LaunchSettings { directions, launch, choice, epsilon }
    }
}
