use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use peft_core::Result;
use peft_core::low_rank::{LoraFields, Ranks, Scaling};
use peft_core::residual::{Components, Decomposition};

/// Settings of MiLoRA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// 1 ≤ r ≤ min(in, out).
    pub rank: i64,
    /// α > 0; s = α/r.
    pub alpha: f64,
    /// Probability of zeroing an entry of the trained branch's input, in [0, 1).
    pub dropout: f64,
    /// Which singular components train.
    pub components: Components,
    /// How they are found.
    pub svd: Svd,
    /// r by module name.
    pub rank_pattern: IndexMap<String, i64>,
    /// α by module name.
    pub alpha_pattern: IndexMap<String, f64>,
}

/// How singular components are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Svd {
    /// From the eigenvectors of the smaller Gram matrix, in double precision.
    #[default]
    Gram,
    /// The full decomposition in single precision, as in the reference code.
    Full,
}

impl From<Svd> for Decomposition {
    fn from(svd: Svd) -> Self {
        match svd {
            Svd::Gram => Self::Gram,
            Svd::Full => Self::Full,
        }
    }
}

impl Default for Config {
    /// The reference script's, where α = r, without its dropout of 0.05.
    fn default() -> Self {
        Self {
            rank: 64,
            alpha: 64.0,
            dropout: 0.0,
            components: Components::Minor,
            svd: Svd::default(),
            rank_pattern: IndexMap::new(),
            alpha_pattern: IndexMap::new(),
        }
    }
}

impl Config {
    /// Rank and scaling by site.
    ///
    /// # Errors
    /// [`peft_core::Error::Config`] for a rank below 1 or an α that is not positive.
    pub fn ranks(&self) -> Result<Ranks> {
        Ranks::new(Scaling::AlphaOverRank, self.rank, self.alpha, &self.rank_pattern, &self.alpha_pattern)
    }

    pub(crate) fn to_peft(&self) -> LoraFields {
        LoraFields {
            rank: self.rank,
            alpha: self.alpha,
            dropout: self.dropout,
            rank_pattern: self.rank_pattern.clone(),
            alpha_pattern: self.alpha_pattern.clone(),
        }
    }
}
