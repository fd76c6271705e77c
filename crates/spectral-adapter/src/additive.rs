use tch::{Kind, Tensor};

use peft_core::low_rank::{self, Ranks};
use peft_core::{
    Attached, Base, Capabilities, Delta, LowRank, Method, MethodInfo, Mode, Paper, Params, Place, Result,
    Role, Site, parse_settings, resolve_settings,
};

use crate::{AdditiveConfig, Triplets};

/// Where both variants were published.
pub(crate) const PAPER: Paper =
    Paper { title: "Spectral Adapter: Fine-Tuning in Spectral Space", arxiv: "2405.13952" };

/// The registry entry.
pub const SPECTRAL_A: MethodInfo = MethodInfo {
    name: "spectral-a",
    family: "spectral",
    variant: "a",
    folder: "spectral-adapter",
    paper: PAPER,
    build: |table| Ok(Box::new(SpectralA::new(parse_settings("spectral-a", table)?)?)),
    resolve: |table| resolve_settings::<AdditiveConfig>("spectral-a", table),
    count: |table, model| {
        Ok(parse_settings::<AdditiveConfig>("spectral-a", table.clone())?.ranks()?.count_both(model.sites))
    },
    count_formula: "r·(in + out)",
    capabilities: Capabilities {
        merge: true,
        quantized_base: true,
        lora_export: true,
        identity_at_start: true,
    },
    peft: None,
};

/// Adds to r singular vectors on each side.
#[derive(Debug)]
pub struct SpectralA {
    config: AdditiveConfig,
    ranks: Ranks,
}

impl SpectralA {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`peft_core::Error::Config`].
    pub fn new(config: AdditiveConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { ranks: config.ranks()?, config })
    }
}

impl Method for SpectralA {
    fn begin(&mut self, sites: &[Site], _shared: &mut Params<'_>) -> Result<()> {
        self.ranks.check(sites)
    }

    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        let triplets = Triplets::attach(place, params, &self.config, &self.ranks)?;
        let (rank, shape) = (self.ranks.rank(place.site), place.site.shape);
        let zeros = |size: [i64; 2]| Tensor::zeros(size, (Kind::Float, place.weight.device()));
        let a = params.trainable("lora_A.weight", Role::Down, &zeros([rank, shape.in_features]))?;
        let b = params.trainable("lora_B.weight", Role::Up, &zeros([shape.out_features, rank]))?;
        Ok(Attached::new(Additive { triplets, a: a.tensor(), b: b.tensor() }))
    }
}

/// `W_eff = (U + B)·diag(σ)·(V + Aᵀ)ᵀ + (W - U·diag(σ)·Vᵀ)`, computed as the update of rank 2r
/// `ΔW = B·diag(σ)·(V + Aᵀ)ᵀ + U·diag(σ)·A = [B·diag(σ), U·diag(σ)]·[Vᵀ + A; A]`.
///
/// Source: Spectral Adapter (arXiv 2405.13952) section 3.1.
#[derive(Debug)]
pub struct Additive {
    /// The triplets.
    pub triplets: Triplets,
    /// `A [r, in]`, added to Vᵀ.
    pub a: Tensor,
    /// `B [out, r]`, added to U.
    pub b: Tensor,
}

impl Additive {
    fn doubled(&self) -> LowRank {
        let Triplets { u, s, v } = &self.triplets;
        let up = Tensor::cat(&[&self.b, u], 1) * Tensor::cat(&[s, s], 0);
        let down = Tensor::cat(&[&(v.tr() + &self.a), &self.a], 0);
        LowRank::new(down, up, 1.0)
    }
}

impl Delta for Additive {
    fn weight(&self) -> Tensor {
        let Triplets { u, s, v } = &self.triplets;
        (&self.b * s).matmul(&(v.tr() + &self.a)) + (u * s).matmul(&self.a)
    }

    fn apply(&self, x: &Tensor, mode: Mode) -> Tensor {
        self.doubled().apply(x, mode)
    }

    fn factors(&self) -> Option<(Tensor, Tensor)> {
        self.doubled().factors()
    }

    fn onto(&self, x: &Tensor, base: Base<'_>, mode: Mode) -> Tensor {
        low_rank::linear(x, base, &self.doubled(), mode)
    }
}
