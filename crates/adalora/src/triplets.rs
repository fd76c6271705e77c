use tch::{Kind, Tensor};

use peft_core::low_rank::{Dropout, linear};
use peft_core::{Base, Delta, LowRank, Mode};

/// `ΔW = c·B·(A∘E)`: a sum of triplets, column of B times entry of E times row of A, in the form of a singular value
/// decomposition. `A [r, in]`, `E [r, 1]`, `B [out, r]`.
///
/// Source: AdaLoRA (arXiv 2303.10512) equation 3, with the scaling of the reference code.
#[derive(Debug)]
pub struct Triplets {
    /// A: rows that the orthogonality keeps near right singular vectors.
    pub a: Tensor,
    /// E: singular values; 0 where a triplet is pruned.
    pub e: Tensor,
    /// B: columns that the orthogonality keeps near left singular vectors.
    pub b: Tensor,
    /// c.
    pub scaling: f64,
    /// On the input of the branch, in training only.
    pub dropout: Option<Dropout>,
}

impl Triplets {
    /// Another handle to the same tensors.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        let [a, e, b] = [&self.a, &self.e, &self.b].map(Tensor::shallow_clone);
        Self { a, e, b, scaling: self.scaling, dropout: self.dropout }
    }

    fn low_rank(&self) -> LowRank {
        let (a, b) = (&self.a * &self.e, self.b.shallow_clone());
        LowRank { dropout: self.dropout, ..LowRank::new(a, b, self.scaling) }
    }
}

impl Delta for Triplets {
    fn weight(&self) -> Tensor {
        self.low_rank().weight()
    }

    fn apply(&self, x: &Tensor, mode: Mode) -> Tensor {
        self.low_rank().apply(x, mode)
    }

    fn factors(&self) -> Option<(Tensor, Tensor)> {
        self.low_rank().factors()
    }

    fn onto(&self, x: &Tensor, base: Base<'_>, mode: Mode) -> Tensor {
        linear(x, base, &self.low_rank(), mode)
    }
}

/// `mean ‖A·Aᵀ - I‖_F` and `‖Bᵀ·B - I‖_F` over all `factors`, given as `[r, n]` with one r.
pub fn distance_from_orthogonal(factors: &[Tensor]) -> Tensor {
    let grams: Vec<Tensor> = factors.iter().map(|factor| factor.matmul(&factor.tr())).collect();
    let grams = Tensor::stack(&grams, 0);
    let identity = Tensor::eye(grams.size()[1], (Kind::Float, grams.device()));
    (grams - identity).norm_scalaropt_dim(2.0, [1, 2], false).mean(Kind::Float)
}
