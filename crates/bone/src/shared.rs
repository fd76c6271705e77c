use tch::{Kind, Tensor};

use autograd::Function;
use peft_core::low_rank::Dropout;
use peft_core::low_rank::products::{rows, with_last};
use peft_core::{Base, Delta, Mode};

use crate::blocks::{block_sums, tiled};
use crate::fused::BlockSumLinear;

/// `ΔW[o, i] = D[i mod r, o mod m]`: one block `D [r, m]` for all shards of the weight; m = out except in MiSS-mini.
///
/// Source: DiSHA (arXiv 2409.15371) equations 4 to 6.
#[derive(Debug)]
pub struct SharedBlock {
    /// D.
    pub block: Tensor,
    /// Of the layer.
    pub out_features: i64,
    /// Of the layer.
    pub in_features: i64,
    /// On the input of the branch, in training only.
    pub dropout: Option<Dropout>,
}

impl Delta for SharedBlock {
    fn weight(&self) -> Tensor {
        tiled(&tiled(&self.block, self.out_features).tr(), self.in_features)
    }

    /// `S·D` with the block sums S of the input.
    fn apply(&self, x: &Tensor, mode: Mode) -> Tensor {
        let shape = with_last(x, self.out_features);
        let mut x = rows(x);
        if let (Some(dropout), Mode::Train { seed }) = (self.dropout, mode) {
            x = &x * dropout.mask(&x, seed);
        }
        let sums = block_sums(&x, self.block.size()[0], self.block.kind());
        tiled(&sums.mm(&self.block), self.out_features).reshape(shape.as_slice())
    }

    /// LoRA with a frozen A of zeros and ones: `A[j, i] = 1 where i mod r = j`.
    fn factors(&self) -> Option<(Tensor, Tensor)> {
        let identity = Tensor::eye(self.block.size()[0], (Kind::Float, self.block.device()));
        let a = tiled(&identity.to_kind(self.block.kind()), self.in_features);
        Some((tiled(&self.block, self.out_features).tr(), a))
    }

    fn onto(&self, x: &Tensor, base: Base<'_>, mode: Mode) -> Tensor {
        let dropout = match (self.dropout, mode) {
            (Some(dropout), Mode::Train { seed }) => Some((dropout, seed)),
            _ => None,
        };
        BlockSumLinear { base, out_features: self.out_features, dropout }
            .apply1(&[x, &self.block])
            .expect("the fused linear returns a fresh tensor")
    }
}
