use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use peft_core::low_rank::{LoraFields, Ranks, Scaling};
use peft_core::{Error, Result};

/// Settings of PiSSA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// 1 ≤ r ≤ min(in, out).
    pub rank: i64,
    /// α > 0; s = α/r.
    pub alpha: f64,
    /// Must be 0: it is here to be refused with its reason.
    pub dropout: f64,
    /// How the principal components are found.
    pub init: Init,
    /// T ≥ 1 of QPiSSA: how often a quantized base is split and quantized in turn.
    pub quantization_iterations: u32,
    /// r by module name.
    pub rank_pattern: IndexMap<String, i64>,
    /// α by module name.
    pub alpha_pattern: IndexMap<String, f64>,
}

/// How the principal components are found, in PEFT's words: `pissa`, `pissa_niter_16`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Init {
    /// The full decomposition.
    #[default]
    Full,
    /// So many iterations of a randomized one.
    Fast(u32),
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(f, "pissa"),
            Self::Fast(iterations) => write!(f, "pissa_niter_{iterations}"),
        }
    }
}

impl From<Init> for String {
    fn from(init: Init) -> Self {
        init.to_string()
    }
}

impl TryFrom<String> for Init {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "pissa" {
            return Ok(Self::Full);
        }
        let iterations = text.strip_prefix("pissa_niter_").and_then(|n| n.parse().ok());
        iterations
            .map(Self::Fast)
            .ok_or_else(|| format!("`{text}` is neither `pissa` nor `pissa_niter_<iterations>`"))
    }
}

impl Default for Config {
    /// The paper's (section 5 and its scripts).
    fn default() -> Self {
        Self {
            rank: 128,
            alpha: 128.0,
            dropout: 0.0,
            init: Init::Full,
            quantization_iterations: 5,
            rank_pattern: IndexMap::new(),
            alpha_pattern: IndexMap::new(),
        }
    }
}

impl Config {
    pub(crate) fn check(&self) -> Result<()> {
        if self.dropout != 0.0 {
            let reason = "dropout on a branch that holds the principal part of W would change the model from the first \
                          step; PiSSA needs 0";
            return Err(Error::config("dropout", self.dropout, reason));
        }
        if self.quantization_iterations == 0 {
            let reason = "the weight is split at least once";
            return Err(Error::config("quantization_iterations", 0, reason));
        }
        Ok(())
    }

    /// Rank and scaling by site.
    ///
    /// # Errors
    /// [`Error::Config`] for a rank below 1 or an α that is not positive.
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

    pub(crate) fn from_peft(fields: LoraFields, init: Init) -> Self {
        let LoraFields { rank, alpha, dropout, rank_pattern, alpha_pattern } = fields;
        Self { rank, alpha, dropout, init, rank_pattern, alpha_pattern, ..Self::default() }
    }
}
