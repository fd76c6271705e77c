use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::{Error, Patterned, Result, Site};

/// How α becomes the factor s of `ΔW = s·B·A`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scaling {
    /// s = α/r (LoRA).
    #[default]
    AlphaOverRank,
    /// s = α/√r (rsLoRA, arXiv 2312.03732).
    AlphaOverSqrtRank,
}

impl Scaling {
    /// s for one site.
    pub fn factor(self, alpha: f64, rank: i64) -> f64 {
        match self {
            Self::AlphaOverRank => alpha / rank as f64,
            Self::AlphaOverSqrtRank => alpha / (rank as f64).sqrt(),
        }
    }
}

/// Rank and scaling of every site: r and α with their patterns.
#[derive(Debug)]
pub struct Ranks {
    rank: Patterned<i64>,
    alpha: Patterned<f64>,
    scaling: Scaling,
}

impl Ranks {
    /// Checks r ≥ 1 and α > 0, in the patterns too.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn new(
        scaling: Scaling,
        rank: i64,
        alpha: f64,
        rank_pattern: &IndexMap<String, i64>,
        alpha_pattern: &IndexMap<String, f64>,
    ) -> Result<Self> {
        for value in std::iter::once(&rank).chain(rank_pattern.values()) {
            if *value < 1 {
                return Err(Error::config("rank", value, "a rank is at least 1"));
            }
        }
        for value in std::iter::once(&alpha).chain(alpha_pattern.values()) {
            if !(value.is_finite() && *value > 0.0) {
                return Err(Error::config("alpha", value, "alpha is a positive number"));
            }
        }
        Ok(Self {
            rank: Patterned::new("rank_pattern", rank, rank_pattern)?,
            alpha: Patterned::new("alpha_pattern", alpha, alpha_pattern)?,
            scaling,
        })
    }

    /// Refuses pattern keys that apply to no site.
    ///
    /// # Errors
    /// [`Error::Unmatched`].
    pub fn check(&self, sites: &[Site]) -> Result<()> {
        self.rank.check(sites)?;
        self.alpha.check(sites)
    }

    /// r of `site`.
    pub fn rank(&self, site: &Site) -> i64 {
        self.rank.of(&site.name)
    }

    /// s of `site`.
    pub fn scaling(&self, site: &Site) -> f64 {
        self.scaling.factor(self.alpha.of(&site.name), self.rank(site))
    }

    /// Σ r·(in + out): values in A and B.
    pub fn count_both(&self, sites: &[Site]) -> u64 {
        self.count(sites, |site| site.shape.in_features + site.shape.out_features)
    }

    /// Σ r·out: values in B.
    pub fn count_up(&self, sites: &[Site]) -> u64 {
        self.count(sites, |site| site.shape.out_features)
    }

    fn count(&self, sites: &[Site], extent: impl Fn(&Site) -> i64) -> u64 {
        sites.iter().map(|site| (self.rank(site) * extent(site)).cast_unsigned()).sum()
    }
}
