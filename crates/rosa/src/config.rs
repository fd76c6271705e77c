use std::path::PathBuf;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use peft_core::low_rank::{Init, Ranks, Scaling};
use peft_core::{Error, Length, Result, SiteShape};

use crate::Score;

/// Settings of RoSA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RosaConfig {
    /// r ≥ 1.
    pub rank: i64,
    /// α > 0; scale of the low-rank part, α/r.
    pub alpha: f64,
    /// Probability of zeroing an entry of the low-rank branch's input while training, in [0, 1).
    pub dropout: f64,
    /// Distribution of A.
    pub init: Init,
    /// d: share of the entries of each weight that the sparse part holds, in [0, 1). With 0 there is none: `LoRA`.
    pub density: f64,
    /// Optimizer steps of the low-rank part alone, before gradients are collected.
    pub low_rank_steps: Length,
    /// Optimizer steps that also collect gradients of the weights.
    pub collection_steps: Length,
    /// What is collected.
    pub score: Score,
    /// A file of masks (`mask.<module>`, any integer or boolean kind) instead of collecting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<PathBuf>,
    /// Learning rate of A and B over that of the sparse values, > 0.
    pub lr_ratio: f64,
    /// r by module name.
    pub rank_pattern: IndexMap<String, i64>,
    /// α by module name.
    pub alpha_pattern: IndexMap<String, f64>,
}

impl Default for RosaConfig {
    /// The reference code's, with its schedule `default` and one learning rate.
    fn default() -> Self {
        let SpaConfig { density, collection_steps, score, mask } = SpaConfig::default();
        Self {
            rank: 8,
            alpha: 8.0,
            dropout: 0.0,
            init: Init::default(),
            density,
            low_rank_steps: Length::Steps(0),
            collection_steps,
            score,
            mask,
            lr_ratio: 1.0,
            rank_pattern: IndexMap::new(),
            alpha_pattern: IndexMap::new(),
        }
    }
}

impl RosaConfig {
    pub(crate) fn ranks(&self) -> Result<Ranks> {
        Ranks::new(Scaling::AlphaOverRank, self.rank, self.alpha, &self.rank_pattern, &self.alpha_pattern)
    }

    pub(crate) fn check(&self) -> Result<()> {
        if !(self.lr_ratio.is_finite() && self.lr_ratio > 0.0) {
            return Err(Error::config("lr_ratio", self.lr_ratio, "a positive number is needed"));
        }
        if let (Some(mask), true) = (&self.mask, self.low_rank_steps != Length::Steps(0)) {
            let reason = "with a mask given, `low_rank_steps` has no purpose";
            return Err(Error::config("mask", mask.display(), reason));
        }
        if self.density == 0.0 { Ok(()) } else { self.sparse().check() }
    }

    /// The settings of the sparse part.
    pub(crate) fn sparse(&self) -> SpaConfig {
        SpaConfig {
            density: self.density,
            collection_steps: self.collection_steps,
            score: self.score,
            mask: self.mask.clone(),
        }
    }
}

/// Settings of SpA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpaConfig {
    /// d: share of the entries of each weight that train, in (0, 1).
    pub density: f64,
    /// Steps that collect gradients of the weights; nothing is updated in them.
    pub collection_steps: Length,
    /// What is collected.
    pub score: Score,
    /// A file of masks (`mask.<module>`, any integer or boolean kind) instead of collecting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<PathBuf>,
}

impl Default for SpaConfig {
    /// The reference code's.
    fn default() -> Self {
        Self { density: 0.003, collection_steps: Length::Steps(1), score: Score::default(), mask: None }
    }
}

impl SpaConfig {
    pub(crate) fn check(&self) -> Result<()> {
        if !(self.density > 0.0 && self.density < 1.0) {
            return Err(Error::config("density", self.density, "a share between 0 and 1 is needed"));
        }
        Ok(())
    }

    /// int(d·out·in): entries of the sparse part, in double precision, as the reference computes it.
    pub(crate) fn entries(&self, shape: SiteShape) -> i64 {
        (self.density * (shape.out_features * shape.in_features) as f64) as i64
    }
}
