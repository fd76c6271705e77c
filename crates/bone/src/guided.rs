use autograd::{Function, Needs, SavedTensor};
use tch::{Kind, Tensor};

use peft_core::low_rank::products::{add_product, rows, with_last};
use peft_core::{Adapter, Base, FrozenWeight, Mode};

/// `ΔW[a, b] = W[a, b]·D[a] + D[a]` for the r×r blocks of the weight, a block row, b block column: an update that the
/// weight itself guides. `D [out/r, r, r]`.
///
/// Source: DiSHA (arXiv 2409.15371), where version 1 calls it Bone.
#[derive(Debug)]
pub struct GuidedBlocks {
    /// D.
    pub blocks: Tensor,
}

impl Adapter for GuidedBlocks {
    fn effective_weight(&self, frozen: &Tensor) -> Tensor {
        updated(&frozen.to_kind(self.blocks.kind()), &self.blocks)
    }

    fn forward(&self, x: &Tensor, base: Base<'_>, _mode: Mode) -> Tensor {
        GuidedLinear { base }.apply1(&[x, &self.blocks]).expect("the fused linear returns a fresh tensor")
    }
}

/// `[out, in] -> [out/r, r·in/r, r]`: the block rows, each as a stack of rows of blocks.
fn block_rows(weight: &Tensor, blocks: &Tensor) -> Tensor {
    let (count, rank) = (blocks.size()[0], blocks.size()[2]);
    weight.reshape([count, -1, rank])
}

/// `W·D` by blocks, plus `onto` where given, plus D: `[out, in]`.
fn product(weight: &Tensor, blocks: &Tensor, onto: Option<&Tensor>) -> Tensor {
    let (count, rank) = (blocks.size()[0], blocks.size()[2]);
    let w = block_rows(weight, blocks);
    let product = match onto {
        Some(onto) => block_rows(onto, blocks).baddbmm(&w, blocks, 1.0, 1.0),
        None => w.bmm(blocks),
    };
    let product = product.view([count, rank, -1, rank]) + blocks.unsqueeze(2);
    product.view(weight.size().as_slice())
}

/// `W + ΔW`.
fn updated(weight: &Tensor, blocks: &Tensor) -> Tensor {
    product(weight, blocks, Some(weight))
}

/// `ΔW`.
fn update(weight: &Tensor, blocks: &Tensor) -> Tensor {
    product(weight, blocks, None)
}

/// Forward and backward in one autograd node. Inputs: `x [.., in]`, `D [out/r, r, r]`. Output: `[.., out]`.
///
/// T tokens. Applying D to the rows of x costs 2·T·out·in multiply-adds, writing `W + ΔW` only r·out·in, so it is written,
/// and written again in backward: nothing of its size is kept. `G = dyᵀ·x` costs T·out·in and is contracted to
/// `∂D[a] = Σ_b W[a, b]ᵀ·G[a, b] + G[a, b]` at once.
///
/// Where W is of a smaller kind than D (bf16), ΔW is rounded by itself and multiplied by itself: a small update would
/// vanish in the rounding of the sum.
struct GuidedLinear<'a> {
    base: Base<'a>,
}

struct Saved {
    weight: Box<dyn FrozenWeight>,
    x: SavedTensor,
    blocks: SavedTensor,
}

impl Function for GuidedLinear<'_> {
    type Saved = Option<Saved>;

    fn forward(&self, inputs: &[&Tensor], needs: Needs<'_>) -> (Vec<Tensor>, Option<Saved>) {
        let [x, blocks] = inputs else { unreachable!("called with x, D") };
        let weight = self.base.weight.dense();
        let shape = with_last(x, weight.size()[0]);
        let x_rows = rows(x);
        let y = if self.base.weight.kind() == blocks.kind() {
            x_rows.linear(&updated(&weight, blocks), self.base.bias)
        } else {
            let mut y = self.base.linear(&x_rows);
            let update = update(&weight.to_kind(blocks.kind()), blocks).to_kind(y.kind());
            add_product(&mut y, &x_rows, &update.tr());
            y
        };
        let saved = needs.any().then(|| Saved {
            weight: self.base.weight.share(),
            x: SavedTensor::new(x),
            blocks: SavedTensor::new(blocks),
        });
        (vec![y.view(shape.as_slice())], saved)
    }

    fn backward(saved: &Option<Saved>, grads: &[Option<Tensor>], needs: Needs<'_>) -> Vec<Option<Tensor>> {
        let Some(Saved { weight, x, blocks }) = saved else {
            unreachable!("backward runs only if something needs a gradient")
        };
        let Some(dy) = &grads[0] else { return vec![None, None] };
        let (x, blocks) = (x.unpack(), blocks.unpack());
        let dy_rows = rows(dy);
        let dense = weight.dense().to_kind(blocks.kind());
        let dx = needs.then(0, || {
            let dx = if weight.kind() == blocks.kind() {
                dy_rows.mm(&updated(&dense, blocks))
            } else {
                let mut dx = weight.grad_input(&dy_rows);
                add_product(&mut dx, &dy_rows, &update(&dense, blocks).to_kind(dy_rows.kind()));
                dx
            };
            dx.view(with_last(dy, x.size()[x.dim() - 1]).as_slice())
        });
        let dblocks = needs.then(1, || {
            let g = dy_rows.tr().mm(&rows(x).to_kind(dy_rows.kind())).to_kind(blocks.kind()); // [out, in]
            let (count, rank) = (blocks.size()[0], blocks.size()[2]);
            let over_columns = g.view([count, rank, -1, rank]).sum_dim_intlist(2, false, None::<Kind>);
            over_columns.baddbmm(
                &block_rows(&dense, blocks).transpose(1, 2),
                &block_rows(&g, blocks),
                1.0,
                1.0,
            )
        });
        vec![dx, dblocks]
    }
}

#[cfg(test)]
mod tests {
    use autograd::{Gradcheck, gradcheck};
    use peft_core::Dense;
    use tch::Device;

    use super::*;

    #[test]
    fn backward_is_the_derivative() {
        let double = |shape: &[i64]| Tensor::randn(shape, (Kind::Double, Device::Cpu));
        tch::manual_seed(2);
        let (weight, bias) = (Dense::new(&double(&[6, 8])), double(&[6]));
        let inputs = [double(&[2, 3, 8]).set_requires_grad(true), double(&[3, 2, 2]).set_requires_grad(true)];
        let base = Base { weight: &weight, bias: Some(&bias) };
        gradcheck(Gradcheck::default(), &inputs, |t| {
            vec![GuidedBlocks { blocks: t[1].shallow_clone() }.forward(&t[0], base, Mode::Eval)]
        })
        .unwrap();
    }
}
