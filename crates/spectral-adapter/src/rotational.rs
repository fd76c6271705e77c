use tch::{Kind, Tensor};

use peft_core::low_rank::{self, Ranks};
use peft_core::{
    Attached, Base, Delta, LowRank, Method, MethodInfo, Mode, Params, Place, Result, Role, Site,
    parse_settings, resolve_settings,
};

use crate::{AdditiveConfig, RotationalConfig, SPECTRAL_A, Triplets};

/// The registry entry.
pub const SPECTRAL_R: MethodInfo = MethodInfo {
    name: "spectral-r",
    variant: "r",
    build: |table| Ok(Box::new(SpectralR::new(parse_settings("spectral-r", table)?)?)),
    resolve: |table| resolve_settings::<RotationalConfig>("spectral-r", table),
    count: |table, model| {
        let config: RotationalConfig = parse_settings("spectral-r", table.clone())?;
        let ranks = config.triplets().ranks()?;
        let of = |rank: i64| 2 * rank * rank + if config.train_scale { rank } else { 0 };
        Ok(model.sites.iter().map(|site| of(ranks.rank(site)).cast_unsigned()).sum())
    },
    count_formula: "2·r² (+ r)",
    ..SPECTRAL_A
};

/// Rotates r singular vectors on each side within the space they span.
#[derive(Debug)]
pub struct SpectralR {
    train_scale: bool,
    triplets: AdditiveConfig,
    ranks: Ranks,
}

impl SpectralR {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`peft_core::Error::Config`].
    pub fn new(config: RotationalConfig) -> Result<Self> {
        let triplets = config.triplets();
        triplets.check()?;
        Ok(Self { train_scale: config.train_scale, ranks: triplets.ranks()?, triplets })
    }
}

impl Method for SpectralR {
    fn begin(&mut self, sites: &[Site], _shared: &mut Params<'_>) -> Result<()> {
        self.ranks.check(sites)
    }

    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        let triplets = Triplets::attach(place, params, &self.triplets, &self.ranks)?;
        let rank = self.ranks.rank(place.site);
        let options = (Kind::Float, place.weight.device());
        let zeros = Tensor::zeros([rank, rank], options);
        let left = params.trainable("spectral_rot_u", Role::Block, &zeros)?.tensor();
        let right = params.trainable("spectral_rot_v", Role::Block, &zeros)?.tensor();
        let ones = Tensor::ones([rank], options);
        let scale = if self.train_scale {
            Some(params.trainable("spectral_scale", Role::Diagonal, &ones)?.tensor())
        } else {
            None
        };
        Ok(Attached::new(Rotational { triplets, left, right, scale }))
    }
}

/// `W_eff = U·R_u·diag(σ∘c)·R_vᵀ·Vᵀ + (W - U·diag(σ)·Vᵀ)` with rotations R of the r chosen directions on each side.
///
/// Source: Spectral Adapter (arXiv 2405.13952) section 3.2; c is of the reference code.
#[derive(Debug)]
pub struct Rotational {
    /// The triplets.
    pub triplets: Triplets,
    /// Generator of R_u, `[r, r]`.
    pub left: Tensor,
    /// Generator of R_v, `[r, r]`.
    pub right: Tensor,
    /// c `[r]`; 1 where absent.
    pub scale: Option<Tensor>,
}

/// Cayley's `R - I` for `R = (I - K)·(I + K)⁻¹`, K = (D - Dᵀ)/2, that is `-2·(I + K)⁻¹·K`; `D [r, r]`.
///
/// K is skew-symmetric, so I + K is never singular and R is a rotation without the eigenvalue -1.
fn turn(generator: &Tensor) -> Tensor {
    let k = (generator - generator.tr()) / 2.0;
    let identity = Tensor::eye(k.size()[0], (k.kind(), k.device()));
    Tensor::linalg_solve(&(identity + &k), &k, true) * -2.0
}

/// The rotation R `[r, r]` of a generator D `[r, r]`: I for D = 0 and for every symmetric D.
pub fn rotation(generator: &Tensor) -> Tensor {
    turn(generator) + Tensor::eye(generator.size()[0], (generator.kind(), generator.device()))
}

impl Rotational {
    /// `M = R_u·diag(σ∘c)·R_vᵀ - diag(σ)`, `[r, r]`, without the difference: with Q = R - I it is
    /// `Q_u·S·R_vᵀ + S·Q_vᵀ + diag(σ∘(c - 1))`, S = diag(σ∘c), which is as small as the turn is.
    fn core(&self) -> Tensor {
        let s = &self.triplets.s;
        let (left, right) = (turn(&self.left), turn(&self.right));
        let scaled = match &self.scale {
            Some(scale) => s * scale,
            None => s.shallow_clone(),
        };
        let beside = (right.tr()) * scaled.unsqueeze(1); // S·Q_vᵀ
        let core = left.matmul(&(&beside + scaled.diag(0))) + &beside;
        match &self.scale {
            Some(scale) => core + (s * (scale - 1.0)).diag(0),
            None => core,
        }
    }

    /// `ΔW = (U·M)·Vᵀ`.
    fn update(&self) -> LowRank {
        LowRank::new(self.triplets.v.tr(), self.triplets.u.matmul(&self.core()), 1.0)
    }
}

impl Delta for Rotational {
    fn weight(&self) -> Tensor {
        self.update().weight()
    }

    fn apply(&self, x: &Tensor, mode: Mode) -> Tensor {
        self.update().apply(x, mode)
    }

    fn factors(&self) -> Option<(Tensor, Tensor)> {
        self.update().factors()
    }

    fn onto(&self, x: &Tensor, base: Base<'_>, mode: Mode) -> Tensor {
        low_rank::linear(x, base, &self.update(), mode)
    }
}
