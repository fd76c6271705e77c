//! Forward and backward of `y = x·(W + diag(λ_b)·B·diag(λ_d)·A)ᵀ + b` in one autograd node.
//!
//! T tokens, in i, out o, r large (often above i and o). With u = x·Aᵀ, p = dy·diag(λ_b)·B `[T, r]` and G = dyᵀ·x
//! `[out, in]`, the gradients are Σ_t p∘u and Σ_r (dyᵀ·diag(λ_d)u)∘B, or, row by row, those of ⟨G, ΔW⟩. Multiply-adds
//! beyond those of the frozen layer:
//!
//! | | forward and dx | gradients of λ_d, λ_b | kept |
//! |---|---|---|---|
//! | factored | 2·T·r·(i + o) | T·r·o | u |
//! | folded | 2·r·i·o | T·r·(i + 2·o) | u |
//! | dense | 2·r·i·o | T·i·o + 2·r·i·o | x |
//!
//! (Factored, u and p serve both columns.) No gradient of a matrix is ever formed, except G where that is cheapest.

use autograd::{Function, Needs, SavedTensor};
use tch::{Kind, Tensor};

use peft_core::low_rank::products::{add_product, fold, rows, with_last};
use peft_core::{Base, FrozenWeight};

/// Which of the equivalent orders of multiplication to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    Factored,
    Folded,
    Dense,
}

impl Plan {
    pub fn cheapest(tokens: i64, r: i64, i: i64, o: i64) -> Self {
        let fold = r * i * o;
        let costs = [
            (Self::Factored, tokens * r * (2 * i + 3 * o)),
            (Self::Folded, 2 * fold + tokens * r * (i + 2 * o)),
            (Self::Dense, 4 * fold + tokens * i * o),
        ];
        costs.into_iter().min_by_key(|(_, cost)| *cost).expect("three plans").0
    }
}

/// Inputs: `x [.., in]`, `λ_d [r]`, `λ_b [out]`. Output: `[.., out]`.
pub struct VeraLinear<'a> {
    pub base: Base<'a>,
    pub a: &'a Tensor,
    pub b: &'a Tensor,
}

pub struct Saved {
    weight: Box<dyn FrozenWeight>,
    plan: Plan,
    a: SavedTensor,
    b: SavedTensor,
    lambda_d: SavedTensor,
    lambda_b: SavedTensor,
    /// u `[T, r]`, or, by the dense plan, x.
    kept: SavedTensor,
}

impl Function for VeraLinear<'_> {
    type Saved = Option<Saved>;

    fn forward(&self, inputs: &[&Tensor], needs: Needs<'_>) -> (Vec<Tensor>, Option<Saved>) {
        let [x, lambda_d, lambda_b] = inputs else { unreachable!("called with x, λ_d, λ_b") };
        let (x_rows, shape) = (rows(x), with_last(x, self.b.size()[0]));
        let plan = self.plan(x_rows.size()[0]);
        let inner = || x_rows.to_kind(self.a.kind()).mm(&self.a.tr());

        let (y, u) = match plan {
            Plan::Factored => {
                let (mut y, u) = (self.base.linear(&x_rows), inner());
                add_product(&mut y, &(&u * *lambda_d), &(lambda_b.unsqueeze(1) * self.b).tr());
                (y, Some(u))
            }
            Plan::Folded | Plan::Dense => {
                let y = x_rows
                    .linear(&folded(self.base.weight, self.a, self.b, lambda_d, lambda_b), self.base.bias);
                (y, (plan == Plan::Folded && needs.any()).then(inner))
            }
        };
        let saved = needs.any().then(|| Saved {
            weight: self.base.weight.share(),
            plan,
            a: SavedTensor::new(self.a),
            b: SavedTensor::new(self.b),
            lambda_d: SavedTensor::new(lambda_d),
            lambda_b: SavedTensor::new(lambda_b),
            kept: SavedTensor::new(u.as_ref().unwrap_or(&x_rows)),
        });
        (vec![y.view(shape.as_slice())], saved)
    }

    fn backward(saved: &Option<Saved>, grads: &[Option<Tensor>], needs: Needs<'_>) -> Vec<Option<Tensor>> {
        let Some(saved) = saved else { unreachable!("backward runs only if something needs a gradient") };
        let Some(dy) = &grads[0] else { return vec![None, None, None] };
        let (a, b) = (saved.a.unpack(), saved.b.unpack());
        let (lambda_d, lambda_b) = (saved.lambda_d.unpack(), saved.lambda_b.unpack());
        let (dy_rows, kept) = (rows(dy), saved.kept.unpack());
        let branch_dy = dy_rows.to_kind(b.kind());
        let outer = (saved.plan != Plan::Dense).then(|| branch_dy.mm(&(lambda_b.unsqueeze(1) * b))); // p [T, r]

        let dx = needs.then(0, || {
            let dx = match (saved.plan, &outer) {
                (Plan::Factored, Some(outer)) => {
                    let mut dx = saved.weight.grad_input(&dy_rows);
                    add_product(&mut dx, &(outer * lambda_d), a);
                    dx
                }
                _ => dy_rows.mm(&folded(&*saved.weight, a, b, lambda_d, lambda_b)),
            };
            dx.view(with_last(dy, a.size()[1]).as_slice())
        });
        let sum = |t: Tensor, axis: i64| t.sum_dim_intlist(axis, false, None::<Kind>);
        let (d_lambda_d, d_lambda_b) = if let Some(outer) = &outer {
            (
                needs.then(1, || sum(outer * kept, 0)),
                needs.then(2, || sum(branch_dy.tr().mm(&(kept * lambda_d)) * b, 1)),
            )
        } else {
            let of_weight = branch_dy.tr().mm(kept); // G [out, in]
            (
                needs.then(1, || sum((lambda_b.unsqueeze(1) * b).tr().mm(&of_weight) * a, 1)),
                needs.then(2, || sum(of_weight.mm(&(lambda_d.unsqueeze(1) * a).tr()) * b, 1)),
            )
        };
        vec![dx, d_lambda_d, d_lambda_b]
    }
}

impl VeraLinear<'_> {
    /// Folding rounds the sum to the kind of W, so it is used only where that is the kind of the factors.
    fn plan(&self, tokens: i64) -> Plan {
        let (r, i, o) = (self.a.size()[0], self.a.size()[1], self.b.size()[0]);
        if self.base.weight.kind() == self.a.kind() {
            Plan::cheapest(tokens, r, i, o)
        } else {
            Plan::Factored
        }
    }
}

/// `W + diag(λ_b)·B·diag(λ_d)·A`, a fresh tensor `[out, in]`.
fn folded(weight: &dyn FrozenWeight, a: &Tensor, b: &Tensor, lambda_d: &Tensor, lambda_b: &Tensor) -> Tensor {
    fold(weight, &(lambda_b.unsqueeze(1) * b), &(lambda_d.unsqueeze(1) * a))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VeraDelta;
    use autograd::{Gradcheck, gradcheck};
    use peft_core::{Delta, Dense, Mode, Seeds, init};
    use tch::Device;

    const IN: i64 = 5;
    const OUT: i64 = 4;
    /// Tokens and rank for which each plan is the cheapest.
    const CASES: [(i64, i64, Plan); 3] = [(1, 2, Plan::Factored), (9, 1, Plan::Folded), (60, 9, Plan::Dense)];

    fn draw(name: &str, shape: &[i64]) -> Tensor {
        init::normal(shape, 1.0, &mut Seeds::new(0).child(name).rng(), Device::Cpu).to_kind(Kind::Double)
    }

    #[test]
    fn gradients_agree_with_finite_differences_and_the_definition() {
        let (weight, bias) = (Dense::new(&draw("w", &[OUT, IN])), draw("bias", &[OUT]));
        let base = Base { weight: &weight, bias: Some(&bias) };
        for (tokens, rank, plan) in CASES {
            assert_eq!(Plan::cheapest(tokens, rank, IN, OUT), plan);
            let delta = |t: &[Tensor]| VeraDelta {
                a: draw("a", &[rank, IN + 2]).narrow(1, 0, IN),
                b: draw("b", &[OUT, rank]),
                lambda_d: t[1].shallow_clone(),
                lambda_b: t[2].shallow_clone(),
                dropout: None,
            };
            let leaf = |name: &str, shape: &[i64]| draw(name, shape).set_requires_grad(true);
            let inputs = [leaf("x", &[tokens, IN]), leaf("d", &[rank]), leaf("l", &[OUT])];
            gradcheck(Gradcheck::default(), &inputs, |t| vec![delta(t).onto(&t[0], base, Mode::Eval)])
                .unwrap();

            let defined = base.linear(&inputs[0]) + delta(&inputs).apply(&inputs[0], Mode::Eval);
            let fused = delta(&inputs).onto(&inputs[0], base, Mode::Eval);
            // Sums of at most 20 products in double precision, in two orders.
            assert!((defined - fused).abs().max().double_value(&[]) < 1e-12);
        }
    }

    /// The table above, counted for a small model at VeRA's usual rank, and for a large one.
    #[test]
    fn small_models_take_the_gradient_of_the_weight() {
        assert_eq!(Plan::cheapest(1500, 256, 160, 432), Plan::Dense);
        assert_eq!(Plan::cheapest(8192, 256, 4096, 4096), Plan::Folded);
        assert_eq!(Plan::cheapest(16, 256, 4096, 4096), Plan::Factored);
    }
}
