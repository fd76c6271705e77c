use std::fmt::Debug;

use tch::Tensor;

use crate::FrozenWeight;

/// Whether a forward pass is part of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Deterministic, no dropout.
    Eval,
    /// Dropout masks are drawn from `seed`, so a step can be repeated exactly.
    Train {
        /// Of this micro-batch.
        seed: u64,
    },
}

/// What a slot holds beneath its adapters: the frozen layer `x·Wᵀ + b`.
#[derive(Clone, Copy, Debug)]
pub struct Base<'a> {
    /// `W [out, in]`.
    pub weight: &'a dyn FrozenWeight,
    /// `b [out]`.
    pub bias: Option<&'a Tensor>,
}

impl Base<'_> {
    /// `x·Wᵀ + b`; `x [.., in] -> [.., out]`.
    pub fn linear(&self, x: &Tensor) -> Tensor {
        self.weight.linear(x, self.bias)
    }
}

/// One reparametrized weight.
pub trait Adapter: Debug + Send {
    /// The definition: `W_eff [out, in]` from the frozen `W [out, in]`, in the kind of the adapter's tensors.
    /// Everything else is checked against it. Differentiable in the adapter's tensors and in `frozen`.
    fn effective_weight(&self, frozen: &Tensor) -> Tensor;

    /// `x·W_effᵀ + b` without materializing `W_eff` where that is cheaper; `x [.., in] -> [.., out]`.
    fn forward(&self, x: &Tensor, base: Base<'_>, mode: Mode) -> Tensor;

    /// The additive part, if this is the additive case.
    fn as_delta(&self) -> Option<&dyn Delta> {
        None
    }

    /// `W_eff [out, in]` itself, if that is a tensor at hand: a layer that trains as a whole.
    fn as_weight(&self) -> Option<&Tensor> {
        None
    }
}

/// The additive case `W_eff = W + ΔW`. Every `Delta` is an [`Adapter`].
pub trait Delta: Debug + Send {
    /// `ΔW [out, in]`.
    fn weight(&self) -> Tensor;

    /// `x·ΔWᵀ`; `x [.., in] -> [.., out]`.
    fn apply(&self, x: &Tensor, mode: Mode) -> Tensor;

    /// `(B [out, r], A [r, in])` with `ΔW = B·A`, scaling folded into `B`, if such factors exist.
    fn factors(&self) -> Option<(Tensor, Tensor)> {
        None
    }

    /// `x·(W + ΔW)ᵀ + b`; override it where fusing is cheaper than adding.
    fn onto(&self, x: &Tensor, base: Base<'_>, mode: Mode) -> Tensor {
        let y = base.linear(x);
        let kind = y.kind();
        (y + self.apply(x, mode)).to_kind(kind)
    }
}

impl<D: Delta> Adapter for D {
    fn effective_weight(&self, frozen: &Tensor) -> Tensor {
        let delta = self.weight();
        frozen.to_kind(delta.kind()) + delta
    }

    fn forward(&self, x: &Tensor, base: Base<'_>, mode: Mode) -> Tensor {
        self.onto(x, base, mode)
    }

    fn as_delta(&self) -> Option<&dyn Delta> {
        Some(self)
    }
}
