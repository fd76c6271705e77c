use tch::Tensor;

use peft_core::low_rank::{self, Dropout};
use peft_core::{Base, Delta, LowRank, Mode};

/// `ΔW = ΔW' + U·diag(d)·V`: a low-rank update, and a coefficient for each chosen singular direction of W.
///
/// With `ΔW' = B·A` both terms are one update of rank r + s with the factors `[B, U·diag(d)]` and `[A; V]`.
///
/// Source: LoRA-Dash (arXiv 2409.01035) section 4.
#[derive(Debug)]
pub struct Dash<D> {
    /// ΔW', of rank r; has factors.
    pub update: D,
    /// `U [out, s]`, zero until the launch.
    pub u: Tensor,
    /// `V [s, in]`, zero until the launch.
    pub v: Tensor,
    /// `d [s]`.
    pub index: Tensor,
    /// On the input of both terms, in training only.
    pub dropout: Option<Dropout>,
}

/// `(B [out, r], A [r, in])` of an update that is known to be low-rank.
pub(crate) fn factors(update: &dyn Delta) -> (Tensor, Tensor) {
    update.factors().expect("directions are added to low-rank updates")
}

impl<D: Delta> Dash<D> {
    fn combined(&self) -> LowRank {
        let (b, a) = factors(&self.update);
        let down = Tensor::cat(&[&a, &self.v], 0);
        let up = Tensor::cat(&[&b, &(&self.u * &self.index)], 1);
        LowRank { dropout: self.dropout, ..LowRank::new(down, up, 1.0) }
    }
}

impl<D: Delta> Delta for Dash<D> {
    fn weight(&self) -> Tensor {
        self.update.weight() + (&self.u * &self.index).matmul(&self.v)
    }

    fn apply(&self, x: &Tensor, mode: Mode) -> Tensor {
        self.combined().apply(x, mode)
    }

    fn factors(&self) -> Option<(Tensor, Tensor)> {
        self.combined().factors()
    }

    fn onto(&self, x: &Tensor, base: Base<'_>, mode: Mode) -> Tensor {
        low_rank::linear(x, base, &self.combined(), mode)
    }
}
