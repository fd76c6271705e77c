//! The low-rank update `ΔW = s·B·A`, the heart of most methods.

mod fused;
mod peft;
mod ranks;
mod zero;

pub mod products;

use tch::Tensor;

use crate::{Base, Delta, Error, Mode, Result, Seeds, generator};

use fused::LowRankLinear;
pub use fused::Plan;
pub use peft::{LoraFields, flag, starts_from_zero};
pub use ranks::{Ranks, Scaling};
pub use zero::{Init, ZeroStart};

/// Dropout on the input of the low-rank branch.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Probability of zeroing an entry, in [0, 1).
    pub p: f64,
    /// Tells the masks of different sites apart.
    pub salt: u64,
}

impl Dropout {
    /// Dropout with probability `p`, or none for 0; the salt comes from the stream of the site.
    ///
    /// # Errors
    /// [`Error::Config`] unless 0 ≤ p < 1.
    pub fn new(p: f64, seeds: &Seeds) -> Result<Option<Self>> {
        if !(0.0..1.0).contains(&p) {
            return Err(Error::config("dropout", p, "a probability below 1 is needed"));
        }
        Ok((p > 0.0).then(|| Self { p, salt: seeds.child("dropout").seed() }))
    }

    /// The mask of one forward pass, `0` or `1/(1-p)`, in the shape and kind of `x`.
    ///
    /// Reseeds libtorch's generator, so that the same pass can be drawn again (in backward, in a recomputation,
    /// after a resume).
    pub fn mask(self, x: &Tensor, seed: u64) -> Tensor {
        let seed = (seed ^ self.salt.rotate_left(17)).cast_signed();
        generator::seeded(seed, || x.empty_like().bernoulli_float_(1.0 - self.p)) / (1.0 - self.p)
    }
}

/// `ΔW = s·B·A - s·B₀·A₀` with `A [r, in]`, `B [out, r]`; the second term, constant, only for methods that start
/// from a part of the weight itself (PiSSA, MiLoRA, OLoRA).
///
/// B₀·A₀ may be as large as W, so the difference is never taken between products: it is computed as
/// `s·((B - B₀)·A + B₀·(A - A₀))`, which is 0 exactly at the start and small where A and B moved little.
///
/// Source: LoRA (arXiv 2106.09685) section 4.1; the initializations differ by method.
#[derive(Debug)]
pub struct LowRank {
    /// Down projection `A [r, in]`.
    pub a: Tensor,
    /// Up projection `B [out, r]`.
    pub b: Tensor,
    /// s.
    pub scaling: f64,
    /// On the input of the branch, in training only.
    pub dropout: Option<Dropout>,
    /// `(B₀ [out, r], A₀ [r, in])`.
    pub start: Option<(Tensor, Tensor)>,
}

impl LowRank {
    /// `ΔW = s·B·A`.
    pub fn new(a: Tensor, b: Tensor, scaling: f64) -> Self {
        Self { a, b, scaling, dropout: None, start: None }
    }

    /// `(s·B, A)`, or with a start `(s·[B - B₀, B₀], [A; A - A₀])`: what is multiplied, r or 2r wide.
    fn multiplied(&self) -> (Tensor, Tensor) {
        multiplied(&self.a, &self.b, self.scaling, self.start.as_ref())
    }
}

/// See [`LowRank::multiplied`].
fn multiplied(a: &Tensor, b: &Tensor, scaling: f64, start: Option<&(Tensor, Tensor)>) -> (Tensor, Tensor) {
    match start {
        None => (b * scaling, a.shallow_clone()),
        Some((b0, a0)) => (Tensor::cat(&[&(b - b0), b0], 1) * scaling, Tensor::cat(&[a, &(a - a0)], 0)),
    }
}

impl Delta for LowRank {
    fn weight(&self) -> Tensor {
        let (up, down) = self.multiplied();
        up.matmul(&down)
    }

    fn apply(&self, x: &Tensor, mode: Mode) -> Tensor {
        let x = x.to_kind(self.a.kind());
        let (up, down) = self.multiplied();
        let branch = |x: &Tensor| x.matmul(&down.tr()).matmul(&up.tr());
        let (Some(dropout), Mode::Train { seed }) = (self.dropout, mode) else { return branch(&x) };
        let dropped = &x * dropout.mask(&x, seed);
        match &self.start {
            None => branch(&dropped),
            // The constant term sees the whole input.
            Some((b0, a0)) => {
                branch(&dropped) + (&dropped - x).matmul(&a0.tr()).matmul(&(b0 * self.scaling).tr())
            }
        }
    }

    fn factors(&self) -> Option<(Tensor, Tensor)> {
        let b = &self.b * self.scaling;
        Some(match &self.start {
            Some((b0, a0)) => (Tensor::cat(&[b, b0 * -self.scaling], 1), Tensor::cat(&[&self.a, a0], 0)),
            None => (b, self.a.shallow_clone()),
        })
    }

    fn onto(&self, x: &Tensor, base: Base<'_>, mode: Mode) -> Tensor {
        linear(x, base, self, mode)
    }
}

/// `x·(W + ΔW)ᵀ + b` with one fused backward; what [`LowRank`] does in a slot, for methods that compute their
/// factors from other tensors (`A∘E`, `diag(d)·A`).
///
/// # Panics
/// If the shapes of the factors do not fit the weight; `attach` has checked them.
pub fn linear(x: &Tensor, base: Base<'_>, update: &LowRank, mode: Mode) -> Tensor {
    let dropout = match (update.dropout, mode) {
        (Some(dropout), Mode::Train { seed }) if dropout.p > 0.0 => Some((dropout, seed)),
        _ => None,
    };
    let function = LowRankLinear { base, scaling: update.scaling, start: update.start.as_ref(), dropout };
    autograd::Function::apply1(&function, &[x, &update.a, &update.b])
        .expect("the fused linear returns a fresh tensor")
}
