//! The central claim of each paper, checked at a size that runs in minutes.
//!
//! A claim is decided by an interval, never by a point estimate: it holds where the interval lies wholly on its side of the
//! bound, does not hold where it lies wholly on the other, and otherwise nothing can be told. That a claim does not hold on
//! a small model is a result about that model.
//!
//! This is the only part of the harness that names methods: claims are about them.

mod adalora;
mod bench;
mod bone;
mod dash;
mod dora;
mod estimate;
mod lori;
mod milora;
mod pissa;
mod rosa;
mod rslora;
mod spectral;
mod stand;

use serde::Serialize;

use crate::{Error, Result};

pub use bench::{Bench, Plan};
pub use estimate::{Estimate, Verdict};

/// A sentence of a paper, and how it is checked here.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Claim {
    /// How `--only` calls it.
    pub name: &'static str,
    /// The paper.
    pub arxiv: &'static str,
    /// The claim.
    pub sentence: &'static str,
    /// The paper's figure, with how sure it is.
    pub paper: &'static str,
    /// Whether it trains models.
    pub trains: bool,
    /// Checks it.
    #[serde(skip)]
    pub check: fn(&mut Bench<'_>) -> Result<Finding>,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Our figures with their intervals.
    pub ours: String,
    /// Whether the claim holds.
    pub verdict: Verdict,
    /// How it was measured: size, seeds, items.
    pub how: String,
    /// The figures that decide, as numbers.
    pub estimates: Vec<Estimate>,
}

/// Every claim: those of algebra first, then those that train.
pub const CLAIMS: &[Claim] = &[
    lori::ORTHOGONALITY,
    rslora::STABILITY,
    pissa::QUANTIZATION,
    bone::RANK,
    spectral::CAPACITY,
    spectral::SINGULAR_VALUES,
    bone::STEP,
    pissa::CONVERGENCE,
    milora::DIRECTIONS,
    dora::CORRELATION,
    lori::INTERFERENCE,
    lori::FORGETTING,
    adalora::BUDGET,
    dash::DIRECTIONS,
    rosa::PARAMETERS,
    rslora::LEARNING,
];

/// The claim of this name.
///
/// # Errors
/// [`Error::Unknown`], whose hint names the nearest.
pub fn find(name: &str) -> Result<&'static Claim> {
    CLAIMS.iter().find(|claim| claim.name == name).ok_or_else(|| Error::Unknown {
        what: "claim",
        name: name.to_owned(),
        known: CLAIMS.iter().map(|claim| claim.name.to_owned()).collect(),
    })
}

/// Checks in which another method can stand in the place of the claim's own: what a false claim would look like.
pub mod checks {
    pub use super::bone::rank as rank_of_update;
    pub use super::lori::{Draws, orthogonality};
    pub use super::pissa::quantization;
    pub use super::rslora::stability;
    pub use super::spectral::{capacity, singular_values};
}
