use std::path::PathBuf;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use peft_core::low_rank::{LoraFields, Ranks, Scaling};
use peft_core::{Error, Length, Result};

use crate::Granularity;

/// Settings of LoRI-D.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DenseConfig {
    /// r ≥ 1.
    pub rank: i64,
    /// α > 0; s = α/r.
    pub alpha: f64,
    /// Probability of zeroing an entry of the branch's input while training, in [0, 1).
    pub dropout: f64,
    /// r by module name.
    pub rank_pattern: IndexMap<String, i64>,
    /// α by module name.
    pub alpha_pattern: IndexMap<String, f64>,
}

impl Default for DenseConfig {
    /// The smaller setting of the reference scripts, where α = 2r and dropout is switched off.
    fn default() -> Self {
        Self {
            rank: 32,
            alpha: 64.0,
            dropout: 0.0,
            rank_pattern: IndexMap::new(),
            alpha_pattern: IndexMap::new(),
        }
    }
}

impl DenseConfig {
    pub(crate) fn ranks(&self) -> Result<Ranks> {
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

/// Settings of LoRI-S.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SparseConfig {
    /// r ≥ 1; the same as in the run that made the mask.
    pub rank: i64,
    /// α > 0; s = α/r.
    pub alpha: f64,
    /// Probability of zeroing an entry of the branch's input while training, in [0, 1).
    pub dropout: f64,
    /// r by module name.
    pub rank_pattern: IndexMap<String, i64>,
    /// α by module name.
    pub alpha_pattern: IndexMap<String, f64>,
    /// Share of the entries of B that stay zero, in [0, 1).
    pub sparsity: f64,
    /// Which entries compete for staying.
    pub granularity: Granularity,
    /// Which of the competing entries stay.
    pub keep: Keep,
    /// Which A the masked run trains under.
    pub a: FreshOrSame,
    /// Calibrates inside this run, for so long, instead of taking the mask from a LoRI-D run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration_steps: Option<Length>,
    /// Learning rate of that calibration, where it is not the run's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration_lr: Option<f64>,
    /// A file of masks (`mask.<module>`, any integer or boolean kind) instead of either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<PathBuf>,
}

/// The entries of B that stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Those that calibration made largest.
    #[default]
    Largest,
    /// As many, drawn uniformly by the seed of the run: what calibration is worth. Nothing is calibrated.
    Random,
}

/// The A of the masked run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FreshOrSame {
    /// A new draw, as in the reference scripts.
    #[default]
    Fresh,
    /// The A under which the mask was found.
    Same,
}

impl Default for SparseConfig {
    /// The reference scripts: 90 %, one threshold for the model, fresh A.
    fn default() -> Self {
        let DenseConfig { rank, alpha, dropout, rank_pattern, alpha_pattern } = DenseConfig::default();
        Self {
            rank,
            alpha,
            dropout,
            rank_pattern,
            alpha_pattern,
            sparsity: 0.9,
            granularity: Granularity::Model,
            keep: Keep::Largest,
            a: FreshOrSame::Fresh,
            calibration_steps: None,
            calibration_lr: None,
            mask: None,
        }
    }
}

impl SparseConfig {
    pub(crate) fn check(&self) -> Result<()> {
        if !(0.0..1.0).contains(&self.sparsity) {
            return Err(Error::config("sparsity", self.sparsity, "a share in [0, 1) is needed"));
        }
        if let (Some(mask), Some(_)) = (&self.mask, &self.calibration_steps) {
            let reason = "a mask file and `calibration_steps` exclude each other";
            return Err(Error::config("mask", mask.display(), reason));
        }
        if self.keep == Keep::Random {
            let contradictions = [
                ("mask", self.mask.is_some()),
                ("calibration_steps", self.calibration_steps.is_some()),
                ("a", self.a == FreshOrSame::Same),
            ];
            if let Some((name, _)) = contradictions.into_iter().find(|(_, set)| *set) {
                let reason = format!("a random mask needs no calibration, so `{name}` has nothing to say");
                return Err(Error::config("keep", "random", reason));
            }
        }
        if let (Some(lr), None) = (self.calibration_lr, self.calibration_steps) {
            return Err(Error::config(
                "calibration_lr",
                lr,
                "there is no calibration without `calibration_steps`",
            ));
        }
        Ok(())
    }

    /// The settings of the LoRI-D run with the same factors.
    pub(crate) fn dense(&self) -> DenseConfig {
        DenseConfig {
            rank: self.rank,
            alpha: self.alpha,
            dropout: self.dropout,
            rank_pattern: self.rank_pattern.clone(),
            alpha_pattern: self.alpha_pattern.clone(),
        }
    }
}
