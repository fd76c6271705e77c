use autograd::Function;
use tch::{Kind, Tensor};

use peft_core::{Base, Delta, LowRank, Mode, SiteShape};

use crate::fused::RobustLinear;

/// `ΔW = s·B·A + S`: a low-rank part and a sparse one, whose values alone are kept. SpA has r = 0.
///
/// Source: RoSA (arXiv 2401.04679) section 4.
#[derive(Debug)]
pub struct RobustUpdate {
    /// s·B·A; `A [0, in]` and `B [out, 0]` where there is none.
    pub low_rank: LowRank,
    /// Values of S, `[nnz]`, in the order of `positions`.
    pub values: Tensor,
    /// Flat positions of the values, ascending, `[nnz]` of kind Int64; all -1 (with values of 0) until there is a mask.
    pub positions: Tensor,
    /// Shape of W.
    pub shape: SiteShape,
}

impl RobustUpdate {
    /// S `[out, in]`, dense.
    pub fn sparse(&self) -> Tensor {
        let SiteShape { out_features, in_features } = self.shape;
        let zeros = Tensor::zeros(out_features * in_features, (self.values.kind(), self.values.device()));
        let at = within(&self.positions, self.shape);
        zeros.index_put(&[Some(at)], &self.values, true).view([out_features, in_features])
    }

    /// The fused layer, with the low-rank part or without it.
    fn linear(&self, x: &Tensor, base: Base<'_>, low_rank: bool) -> Tensor {
        let rank = if low_rank { self.low_rank.a.size()[0] } else { 0 };
        let (a, b) = (self.low_rank.a.narrow(0, 0, rank), self.low_rank.b.narrow(1, 0, rank));
        RobustLinear { base, positions: &within(&self.positions, self.shape) }
            .apply1(&[x, &self.values, &a, &(b * self.low_rank.scaling)])
            .expect("the fused linear returns a fresh tensor")
    }
}

/// Positions that may be used as indices: those of no mask stand for the last entry, to which they add nothing.
fn within(positions: &Tensor, shape: SiteShape) -> Tensor {
    positions.remainder(shape.out_features * shape.in_features)
}

impl Delta for RobustUpdate {
    fn weight(&self) -> Tensor {
        self.low_rank.weight() + self.sparse()
    }

    /// The sparse part sees the whole input, whatever dropout the low-rank part has.
    fn apply(&self, x: &Tensor, mode: Mode) -> Tensor {
        self.low_rank.apply(x, mode) + x.to_kind(self.values.kind()).matmul(&self.sparse().tr())
    }

    fn onto(&self, x: &Tensor, base: Base<'_>, mode: Mode) -> Tensor {
        match (self.low_rank.dropout, mode) {
            (Some(_), Mode::Train { .. }) => {
                let y = self.linear(x, base, false);
                let kind: Kind = y.kind();
                (y + self.low_rank.apply(x, mode)).to_kind(kind)
            }
            _ => self.linear(x, base, true),
        }
    }
}
