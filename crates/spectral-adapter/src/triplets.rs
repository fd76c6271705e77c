use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use peft_core::low_rank::Ranks;
use peft_core::{Error, Params, Place, Purpose, Result, Saved, Site, linalg};

use crate::AdditiveConfig;

/// The end of the spectrum from which triplets are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CountedFrom {
    /// The largest singular value is at position 0.
    #[default]
    Largest,
    /// The smallest singular value is at position 0.
    Smallest,
}

/// r singular triplets of a weight, frozen: `W = U·diag(σ)·Vᵀ + (the others)`.
///
/// They belong to the adapter and are saved with it, for a decomposition is unique only up to joint signs, and up to
/// rotations where singular values coincide.
#[derive(Debug)]
pub struct Triplets {
    /// `U [out, r]`.
    pub u: Tensor,
    /// `σ [r]`, descending.
    pub s: Tensor,
    /// `V [in, r]`.
    pub v: Tensor,
}

impl Triplets {
    /// Decomposes the weight of `place` and registers the chosen triplets as `spectral_u`, `spectral_s` and
    /// `spectral_v`.
    ///
    /// # Errors
    /// [`Error::Site`] if the weight has no such triplets.
    pub(crate) fn attach(
        place: Place<'_>,
        params: &mut Params<'_>,
        config: &AdditiveConfig,
        ranks: &Ranks,
    ) -> Result<Self> {
        let (site, rank) = (place.site, ranks.rank(place.site));
        let first = first(site, rank, config)?;
        let (u, s, v) = match params.purpose() {
            Purpose::Train => {
                let chosen = linalg::svd(&place.weight.to_kind(Kind::Float))?.slice(first, rank);
                (chosen.u, chosen.s, chosen.vt.tr())
            }
            Purpose::Load => {
                let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Float, params.device()));
                let shape = site.shape;
                (zeros(&[shape.out_features, rank]), zeros(&[rank]), zeros(&[shape.in_features, rank]))
            }
        };
        Ok(Self {
            u: params.buffer("spectral_u", &u, Saved::Adapter)?.tensor(),
            s: params.buffer("spectral_s", &s, Saved::Adapter)?.tensor(),
            v: params.buffer("spectral_v", &v, Saved::Adapter)?.tensor(),
        })
    }
}

/// Position of the first triplet, counted from the largest singular value.
fn first(site: &Site, rank: i64, config: &AdditiveConfig) -> Result<i64> {
    let all = site.shape.in_features.min(site.shape.out_features);
    let end = config.start + rank;
    if end > all {
        let reason = format!("triplets {}..{end} were asked for, and its weight has {all}", config.start);
        return Err(Error::site(&site.name, reason));
    }
    Ok(match config.counted_from {
        CountedFrom::Largest => config.start,
        CountedFrom::Smallest => all - end,
    })
}
