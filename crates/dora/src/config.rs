use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use peft_core::low_rank::{Init, LoraFields, Ranks, Scaling};
use peft_core::{Patterned, Result};

use crate::NormGradient;

/// Settings of DoRA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// r ≥ 1.
    pub rank: i64,
    /// α > 0.
    pub alpha: f64,
    /// How s comes from α and r.
    pub scaling: Scaling,
    /// Probability of zeroing an entry of the branch's input while training, in [0, 1).
    pub dropout: f64,
    /// Distribution of A.
    pub init: Init,
    /// Whether n is differentiated.
    pub norm_gradient: NormGradient,
    /// Which weight's row norms m starts from, where the base is stored with loss.
    pub magnitude: MagnitudeOf,
    /// Modules that train m alone, without A and B.
    pub magnitude_only: Vec<String>,
    /// r by module name.
    pub rank_pattern: IndexMap<String, i64>,
    /// α by module name.
    pub alpha_pattern: IndexMap<String, f64>,
}

/// The weight whose row norms m starts from; the two differ on a quantized base.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MagnitudeOf {
    /// As it is stored: the model starts as the quantized base (PEFT).
    #[default]
    Stored,
    /// As it was: the start corrects the row norms that quantization changed (QDoRA in fsdp_qlora).
    Original,
}

impl Default for Config {
    /// The smaller setting of the paper, without its dropout of 0.05.
    fn default() -> Self {
        Self {
            rank: 16,
            alpha: 32.0,
            scaling: Scaling::default(),
            dropout: 0.0,
            init: Init::default(),
            norm_gradient: NormGradient::default(),
            magnitude: MagnitudeOf::default(),
            magnitude_only: Vec::new(),
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
        Ranks::new(self.scaling, self.rank, self.alpha, &self.rank_pattern, &self.alpha_pattern)
    }

    /// By site: whether m trains alone.
    ///
    /// # Errors
    /// [`peft_core::Error::Config`] for a name that is not a regular expression.
    pub fn magnitude_only(&self) -> Result<Patterned<bool>> {
        let alone = self.magnitude_only.iter().map(|name| (name.clone(), true)).collect();
        Patterned::new("magnitude_only", false, &alone)
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

    pub(crate) fn from_peft(fields: LoraFields, scaling: Scaling) -> Self {
        let LoraFields { rank, alpha, dropout, rank_pattern, alpha_pattern } = fields;
        Self { rank, alpha, scaling, dropout, rank_pattern, alpha_pattern, ..Self::default() }
    }
}
