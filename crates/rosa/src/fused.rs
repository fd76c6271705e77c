//! Forward and backward of `y = x·(W + B·A + S)ᵀ + b` in one autograd node, with s in B.
//!
//! T tokens, weight `[out, in]`, nnz values in S. There are two ways:
//!
//! | | folded | gathered |
//! |---|---|---|
//! | S in forward and dx | written into a copy of W | T·nnz each, entry by entry |
//! | dS | `dyᵀ·x` whole, then its entries: T·in·out | T·nnz, entry by entry |
//! | B·A | written into the same copy, r·in·out | T·r·(in + out) |
//!
//! Products run at full speed and single entries do not, so folding is used unless T·nnz is below the cost of copying W,
//! in·out: when tokens come one by one. Nothing of size `[out, in]` is kept for backward; it is written again there.
//!
//! Where W has another kind than the values, `B·A + S` is written alone, rounded to that kind by itself: in the sum
//! with W a small update would vanish.

use autograd::{Function, Needs, SavedTensor};
use tch::{Kind, Tensor};

use peft_core::low_rank::products::{rows, with_last};
use peft_core::{Base, FrozenWeight};

/// Inputs: `x [.., in]`, values `[nnz]`, `A [r, in]`, `B [out, r]`. Output: `[.., out]`.
pub struct RobustLinear<'a> {
    pub base: Base<'a>,
    /// Flat, in 0..out·in, `[nnz]`.
    pub positions: &'a Tensor,
}

pub struct Saved {
    weight: Box<dyn FrozenWeight>,
    plan: Plan,
    positions: Tensor,
    x: SavedTensor,
    values: SavedTensor,
    a: SavedTensor,
    b: SavedTensor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Folded,
    Gathered,
}

/// The update as its parts.
struct Parts<'a> {
    weight: &'a dyn FrozenWeight,
    positions: &'a Tensor,
    values: &'a Tensor,
    a: &'a Tensor,
    b: &'a Tensor,
}

impl Parts<'_> {
    fn in_features(&self) -> i64 {
        self.a.size()[1]
    }

    /// Row and column of each value.
    fn indices(&self) -> (Tensor, Tensor) {
        let width = self.in_features();
        (self.positions.divide_scalar_mode(width, "floor"), self.positions.remainder(width))
    }

    /// `target + S` in place; entries without a mask write the value that is there.
    fn add_sparse(&self, target: Tensor) -> Tensor {
        let mut flat = target.view(-1);
        let values = flat.take(self.positions) + self.values;
        let _ = flat.put_(self.positions, &values, false);
        target
    }

    /// `W + B·A + S`, or, where kinds differ, `B·A + S` in the kind of W; a fresh tensor `[out, in]`.
    fn folded(&self) -> Tensor {
        if self.is_whole() {
            // Contiguous, for W may be a transposed view.
            let weight = match self.weight.as_dense() {
                Some(dense) => dense.addmm(self.b, self.a).contiguous(),
                None => self.weight.dense().addmm_(self.b, self.a),
            };
            self.add_sparse(weight)
        } else {
            self.add_sparse(self.b.mm(self.a)).to_kind(self.weight.kind())
        }
    }

    /// Whether [`Self::folded`] contains W.
    fn is_whole(&self) -> bool {
        self.weight.kind() == self.values.kind()
    }
}

impl Function for RobustLinear<'_> {
    type Saved = Option<Saved>;

    fn forward(&self, inputs: &[&Tensor], needs: Needs<'_>) -> (Vec<Tensor>, Option<Saved>) {
        let [x, values, a, b] = inputs else { unreachable!("called with x, values, A, B") };
        let parts = Parts { weight: self.base.weight, positions: self.positions, values, a, b };
        let (x_rows, shape) = (rows(x), with_last(x, b.size()[0]));
        let (tokens, nnz) = (x_rows.size()[0], values.size()[0]);
        let plan = if tokens * nnz < b.size()[0] * a.size()[1] { Plan::Gathered } else { Plan::Folded };
        let y = match plan {
            Plan::Folded if parts.is_whole() => x_rows.linear(&parts.folded(), self.base.bias),
            Plan::Folded => self.base.linear(&x_rows) + x_rows.mm(&parts.folded().tr()),
            Plan::Gathered => {
                let y = self.base.linear(&x_rows);
                let branch = x_rows.to_kind(a.kind());
                let (row, column) = parts.indices();
                let products = branch.index_select(1, &column) * *values;
                let update = branch.mm(&a.tr()).mm(&b.tr()).index_add_(1, &row, &products);
                let kind = y.kind();
                (y + update).to_kind(kind)
            }
        };
        let saved = needs.any().then(|| Saved {
            weight: self.base.weight.share(),
            plan,
            positions: self.positions.shallow_clone(),
            x: SavedTensor::new(x),
            values: SavedTensor::new(values),
            a: SavedTensor::new(a),
            b: SavedTensor::new(b),
        });
        (vec![y.view(shape.as_slice())], saved)
    }

    fn backward(saved: &Option<Saved>, grads: &[Option<Tensor>], needs: Needs<'_>) -> Vec<Option<Tensor>> {
        let Some(saved) = saved else { unreachable!("backward runs only if something needs a gradient") };
        let Some(dy) = &grads[0] else { return vec![None, None, None, None] };
        let (values, a, b) = (saved.values.unpack(), saved.a.unpack(), saved.b.unpack());
        let parts = Parts { weight: &*saved.weight, positions: &saved.positions, values, a, b };
        let (x_rows, dy_rows) = (rows(saved.x.unpack()), rows(dy));
        let (branch_x, branch_dy) = (x_rows.to_kind(a.kind()), dy_rows.to_kind(a.kind()));

        let dx = needs.then(0, || {
            let dx = match saved.plan {
                Plan::Folded if parts.is_whole() => dy_rows.mm(&parts.folded()),
                Plan::Folded => saved.weight.grad_input(&dy_rows) + dy_rows.mm(&parts.folded()),
                Plan::Gathered => {
                    let (row, column) = parts.indices();
                    let products = branch_dy.index_select(1, &row) * values;
                    let update = branch_dy.mm(b).mm(a).index_add_(1, &column, &products);
                    (saved.weight.grad_input(&dy_rows) + update).to_kind(dy.kind())
                }
            };
            dx.view(with_last(dy, a.size()[1]).as_slice())
        });
        let dvalues = needs.then(1, || match saved.plan {
            Plan::Folded => dy_rows.tr().mm(&x_rows).take(&saved.positions).to_kind(values.kind()),
            Plan::Gathered => {
                let (row, column) = parts.indices();
                let products = branch_dy.index_select(1, &row) * branch_x.index_select(1, &column);
                products.sum_dim_intlist(0, false, None::<Kind>)
            }
        });
        let da = needs.then(2, || branch_dy.mm(b).tr().mm(&branch_x));
        let db = needs.then(3, || branch_dy.tr().mm(&branch_x.mm(&a.tr())));
        vec![dx, dvalues, da, db]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autograd::{Gradcheck, gradcheck};
    use peft_core::{Dense, Seeds, init};
    use tch::Device;

    /// Both plans, with a mask and without one, against central differences in double precision.
    #[test]
    fn backward_agrees_with_differences() {
        let draw = |name: &str, shape: &[i64]| {
            let mut rng = Seeds::new(2).child(name).rng();
            init::normal(shape, 1.0, &mut rng, Device::Cpu).to_kind(Kind::Double)
        };
        let weight = Dense::new(&draw("w", &[5, 4]));
        let bias = draw("bias", &[5]);
        for (tokens, positions) in
            [(9, [2i64, 7, 19].as_slice()), (2, &[2, 7, 19]), (9, &[19, 19, 19]), (9, &[0]), (2, &[19])]
        {
            let positions = Tensor::from_slice(positions);
            let values = match positions.size()[0] {
                3 if positions.int64_value(&[0]) == 19 => Tensor::zeros([3], (Kind::Double, Device::Cpu)),
                nnz => draw("values", &[nnz]),
            };
            let without_mask = values.any().int64_value(&[]) == 0;
            let inputs = [
                draw("x", &[tokens, 4]).set_requires_grad(true),
                values.set_requires_grad(!without_mask),
                draw("a", &[2, 4]).set_requires_grad(true),
                draw("b", &[5, 2]).set_requires_grad(true),
            ];
            gradcheck(Gradcheck::default(), &inputs, |inputs| {
                let base = Base { weight: &weight, bias: Some(&bias) };
                let inputs: Vec<&Tensor> = inputs.iter().collect();
                vec![RobustLinear { base, positions: &positions }.apply1(&inputs).unwrap()]
            })
            .unwrap();
        }
    }
}
