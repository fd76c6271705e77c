use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use peft_core::Result;
use peft_core::low_rank::{Init, LoraFields, Ranks, Scaling};

/// Settings of rsLoRA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// r ≥ 1.
    pub rank: i64,
    /// α > 0; s = α/√r.
    pub alpha: f64,
    /// Probability of zeroing an entry of the branch's input while training, in [0, 1).
    pub dropout: f64,
    /// Distribution of A.
    pub init: Init,
    /// r by module name.
    pub rank_pattern: IndexMap<String, i64>,
    /// α by module name.
    pub alpha_pattern: IndexMap<String, f64>,
}

impl Default for Config {
    /// PEFT's rank and α.
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 8.0,
            dropout: 0.0,
            init: Init::default(),
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
        let scaling = Scaling::AlphaOverSqrtRank;
        Ranks::new(scaling, self.rank, self.alpha, &self.rank_pattern, &self.alpha_pattern)
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

    pub(crate) fn from_peft(fields: LoraFields) -> Self {
        let LoraFields { rank, alpha, dropout, rank_pattern, alpha_pattern } = fields;
        Self { rank, alpha, dropout, rank_pattern, alpha_pattern, init: Init::default() }
    }
}
