use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use peft_core::low_rank::{Ranks, Scaling};
use peft_core::{Error, Result};

use crate::CountedFrom;

/// Settings of Spectral-A.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdditiveConfig {
    /// r ≥ 1: how many singular triplets are tuned.
    pub rank: i64,
    /// Position of the first of them, ≥ 0.
    pub start: i64,
    /// The end from which positions count.
    pub counted_from: CountedFrom,
    /// r by module name.
    pub rank_pattern: IndexMap<String, i64>,
}

/// Settings of Spectral-R.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RotationalConfig {
    /// r ≥ 1: how many singular triplets are tuned.
    pub rank: i64,
    /// Position of the first of them, ≥ 0.
    pub start: i64,
    /// The end from which positions count.
    pub counted_from: CountedFrom,
    /// Whether factors of the singular values train too.
    pub train_scale: bool,
    /// r by module name.
    pub rank_pattern: IndexMap<String, i64>,
}

impl Default for AdditiveConfig {
    /// The reference scripts' for models of 7 G parameters.
    fn default() -> Self {
        Self { rank: 8, start: 0, counted_from: CountedFrom::default(), rank_pattern: IndexMap::new() }
    }
}

impl Default for RotationalConfig {
    /// The paper's: rotations alone. The reference code has `train_scale`.
    fn default() -> Self {
        let AdditiveConfig { rank, start, counted_from, rank_pattern } = AdditiveConfig::default();
        Self { rank, start, counted_from, train_scale: false, rank_pattern }
    }
}

impl RotationalConfig {
    /// Its choice of triplets.
    pub(crate) fn triplets(&self) -> AdditiveConfig {
        let Self { rank, start, counted_from, rank_pattern, .. } = self.clone();
        AdditiveConfig { rank, start, counted_from, rank_pattern }
    }
}

impl AdditiveConfig {
    /// r by site. There is no scale: α = r.
    pub(crate) fn ranks(&self) -> Result<Ranks> {
        Ranks::new(Scaling::AlphaOverRank, self.rank, 1.0, &self.rank_pattern, &IndexMap::new())
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.start < 0 {
            return Err(Error::config("start", self.start, "positions of singular triplets begin at 0"));
        }
        Ok(())
    }
}
