//! Forward and backward of `y = x·(W + ΔW)ᵀ + b`, `ΔW[o, i] = D[i mod r, o mod m]`, in one autograd node.
//!
//! T tokens, S the block sums of x. Beyond the frozen layer, in the factored order:
//!
//! * forward: T·in additions for S, T·r·m multiply-adds for `S·D`, which is added to the output;
//! * backward: T·r·m each for `∂D = Sᵀ·dy` and for `dy·Dᵀ`, whose tiles are added to dx (for m < out from block sums of dy).
//!
//! In the folded order the tiles of D are added to W instead, a pass over `[out, in]` and no product at all, once in each
//! direction. Adding `S·D` to the output is a pass over `[T, out]`, so folding wins as soon as T > in. As it rounds the sum
//! to the kind of W it is used only where that is the kind of D. S `[T, r]` is all that is kept of x in either order.

use autograd::{Function, Needs, SavedTensor};
use tch::Tensor;

use peft_core::low_rank::products::{add_product, rows, with_last};
use peft_core::low_rank::{Dropout, Plan};
use peft_core::{Base, FrozenWeight};

use crate::blocks::{add_tiles, block_sums, tiled};

/// Inputs: `x [.., in]`, `D [r, m]`. Output: `[.., out]`.
pub struct BlockSumLinear<'a> {
    pub base: Base<'a>,
    pub out_features: i64,
    pub dropout: Option<(Dropout, u64)>,
}

pub struct Saved {
    weight: Box<dyn FrozenWeight>,
    dropout: Option<(Dropout, u64)>,
    plan: Plan,
    in_features: i64,
    block: SavedTensor,
    /// S `[T, r]`, where D trains.
    sums: Option<SavedTensor>,
}

impl Function for BlockSumLinear<'_> {
    type Saved = Option<Saved>;

    fn forward(&self, inputs: &[&Tensor], needs: Needs<'_>) -> (Vec<Tensor>, Option<Saved>) {
        let [x, block] = inputs else { unreachable!("called with x, D") };
        let shape = with_last(x, self.out_features);
        let x_rows = rows(x);
        let (tokens, in_features) = (x_rows.size()[0], x_rows.size()[1]);
        let exact = self.base.weight.kind() == block.kind() && self.dropout.is_none();
        let plan = if exact && tokens > in_features { Plan::Folded } else { Plan::Factored };

        let sums = (needs.input(1) || plan == Plan::Factored).then(|| {
            let rank = block.size()[0];
            match self.dropout {
                Some((dropout, seed)) => {
                    block_sums(&(&x_rows * dropout.mask(&x_rows, seed)), rank, block.kind())
                }
                None => block_sums(&x_rows, rank, block.kind()),
            }
        });
        let y = match (plan, &sums) {
            (Plan::Factored, Some(sums)) => {
                let mut y = self.base.linear(&x_rows);
                if block.size()[1] == self.out_features {
                    add_product(&mut y, sums, block);
                } else {
                    add_tiles(&mut y, &sums.mm(block));
                }
                y
            }
            _ => x_rows.linear(&fold(self.base.weight, block, self.out_features), self.base.bias),
        };
        let saved = needs.any().then(|| Saved {
            weight: self.base.weight.share(),
            dropout: self.dropout,
            plan,
            in_features,
            block: SavedTensor::new(block),
            sums: sums.as_ref().filter(|_| needs.input(1)).map(SavedTensor::new),
        });
        (vec![y.view(shape.as_slice())], saved)
    }

    fn backward(saved: &Option<Saved>, grads: &[Option<Tensor>], needs: Needs<'_>) -> Vec<Option<Tensor>> {
        let Some(saved) = saved else { unreachable!("backward runs only if something needs a gradient") };
        let Some(dy) = &grads[0] else { return vec![None, None] };
        let block = saved.block.unpack();
        let dy_rows = rows(dy);
        let factored_dx = needs.input(0) && saved.plan == Plan::Factored;
        let dy_sums =
            (needs.input(1) || factored_dx).then(|| block_sums(&dy_rows, block.size()[1], block.kind())); // [T, m]

        let dx = needs.then(0, || {
            let dx = match (saved.plan, &dy_sums) {
                (Plan::Factored, Some(dy_sums)) => saved.grad_input(&dy_rows, &dy_sums.mm(&block.tr())),
                _ => dy_rows.mm(&fold(&*saved.weight, block, dy_rows.size()[1])),
            };
            dx.view(with_last(dy, saved.in_features).as_slice())
        });
        let dblock = needs.then(1, || {
            let sums = saved.sums.as_ref().expect("kept where D trains").unpack();
            sums.tr().mm(dy_sums.as_ref().expect("needed"))
        });
        vec![dx, dblock]
    }
}

impl Saved {
    /// `dy·(W + ΔW)` for rows `dy [T, out]`; `inner` is `dy·Dᵀ [T, r]`.
    fn grad_input(&self, dy: &Tensor, inner: &Tensor) -> Tensor {
        let mut dx = self.weight.grad_input(dy);
        match self.dropout {
            Some((dropout, seed)) => {
                let mask = dropout.mask(&dx, seed);
                dx += tiled(inner, self.in_features) * mask;
            }
            None => add_tiles(&mut dx, inner),
        }
        dx
    }
}

/// `W + ΔW`, a fresh tensor `[out, in]`.
fn fold(weight: &dyn FrozenWeight, block: &Tensor, out_features: i64) -> Tensor {
    let mut folded = weight.as_dense().map_or_else(|| weight.dense(), Tensor::copy);
    add_tiles(&mut folded, &tiled(block, out_features).tr());
    folded
}

#[cfg(test)]
mod tests {
    use autograd::{Gradcheck, gradcheck};
    use peft_core::{Delta, Dense, Mode, Seeds};
    use tch::{Device, Kind};

    use super::*;
    use crate::SharedBlock;

    /// Inputs and outputs that the block divides and does not divide, few and many tokens, with and without dropout.
    #[test]
    fn backward_is_the_derivative() {
        let double = |shape: &[i64]| Tensor::randn(shape, (Kind::Double, Device::Cpu));
        tch::manual_seed(1);
        let dropout = Dropout::new(0.3, &Seeds::new(1)).unwrap();
        for (tokens, in_features, rank, mini) in [(3, 7, 3, 6), (9, 7, 3, 6), (3, 6, 2, 2), (9, 8, 4, 3)] {
            for dropout in [None, dropout] {
                let (weight, bias) = (Dense::new(&double(&[6, in_features])), double(&[6]));
                let inputs = [
                    double(&[1, tokens, in_features]).set_requires_grad(true),
                    double(&[rank, mini]).set_requires_grad(true),
                ];
                let layer = |t: &[Tensor]| SharedBlock {
                    block: t[1].shallow_clone(),
                    out_features: 6,
                    in_features,
                    dropout,
                };
                let mode = Mode::Train { seed: 5 };
                let base = Base { weight: &weight, bias: Some(&bias) };
                gradcheck(Gradcheck::default(), &inputs, |t| vec![layer(t).onto(&t[0], base, mode)]).unwrap();
                let whole = base.linear(&inputs[0]) + layer(&inputs).apply(&inputs[0], mode);
                let distance = (layer(&inputs).onto(&inputs[0], base, mode) - whole).abs().max();
                assert!(distance.double_value(&[]) < 1e-12, "orders of multiplication differ: {distance}");
            }
        }
    }
}
