use tch::Tensor;

use peft_core::low_rank::{self, Dropout};
use peft_core::{Base, Delta, LowRank, Mode};

/// `ΔW = s_L·B·A + U·diag(d)·V`: LoRA, and a coefficient for each chosen singular direction of W.
///
/// Both terms are one low-rank update of rank r + s with the factors `[s_L·B, U·diag(d)]` and `[A; V]`.
///
/// Source: LoRA-Dash (arXiv 2409.01035) section 4.
#[derive(Debug)]
pub struct Dash {
    /// `A [r, in]`.
    pub a: Tensor,
    /// `B [out, r]`.
    pub b: Tensor,
    /// `s_L`, of the low-rank part alone.
    pub scaling: f64,
    /// `U [out, s]`, zero until the launch.
    pub u: Tensor,
    /// `V [s, in]`, zero until the launch.
    pub v: Tensor,
    /// `d [s]`.
    pub index: Tensor,
    /// On the input of both terms, in training only.
    pub dropout: Option<Dropout>,
}

impl Dash {
    fn combined(&self) -> LowRank {
        let down = Tensor::cat(&[&self.a, &self.v], 0);
        let up = Tensor::cat(&[&self.b * self.scaling, &self.u * &self.index], 1);
        LowRank { dropout: self.dropout, ..LowRank::new(down, up, 1.0) }
    }
}

impl Delta for Dash {
    fn weight(&self) -> Tensor {
        (&self.b * self.scaling).matmul(&self.a) + (&self.u * &self.index).matmul(&self.v)
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
