use autograd::Function;
use tch::Tensor;

use peft_core::low_rank::Dropout;
use peft_core::{Base, Delta, Mode};

use super::fused::VeraLinear;

/// `ΔW = diag(λ_b)·B·diag(λ_d)·A` with frozen `A [r, in]`, `B [out, r]` and trained `λ_d [r]`, `λ_b [out]`.
///
/// Source: VeRA (arXiv 2310.11454) section 3.
#[derive(Debug)]
pub struct VeraDelta {
    /// A: the first columns of the shared projection.
    pub a: Tensor,
    /// B: the first rows of the shared projection.
    pub b: Tensor,
    /// λ_d.
    pub lambda_d: Tensor,
    /// λ_b.
    pub lambda_b: Tensor,
    /// On the input of the branch, in training only.
    pub dropout: Option<Dropout>,
}

impl VeraDelta {
    fn scaled(&self) -> (Tensor, Tensor) {
        (self.lambda_b.unsqueeze(1) * &self.b, self.lambda_d.unsqueeze(1) * &self.a)
    }
}

impl Delta for VeraDelta {
    fn weight(&self) -> Tensor {
        let (b, a) = self.scaled();
        b.matmul(&a)
    }

    fn apply(&self, x: &Tensor, mode: Mode) -> Tensor {
        let x = x.to_kind(self.a.kind());
        let x = match (self.dropout, mode) {
            (Some(dropout), Mode::Train { seed }) => &x * dropout.mask(&x, seed),
            _ => x,
        };
        (x.matmul(&self.a.tr()) * &self.lambda_d).matmul(&self.b.tr()) * &self.lambda_b
    }

    fn factors(&self) -> Option<(Tensor, Tensor)> {
        Some(self.scaled())
    }

    fn onto(&self, x: &Tensor, base: Base<'_>, mode: Mode) -> Tensor {
        if self.dropout.is_some() && mode != Mode::Eval {
            let y = base.linear(x);
            let kind = y.kind();
            return (y + self.apply(x, mode)).to_kind(kind);
        }
        VeraLinear { base, a: &self.a, b: &self.b }
            .apply1(&[x, &self.lambda_d, &self.lambda_b])
            .expect("the fused linear returns a fresh tensor")
    }
}
