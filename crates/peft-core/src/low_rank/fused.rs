//! Forward and backward of `y = x·(W + s·B·A)ᵀ + b` in one autograd node.
//!
//! T tokens, weight `[out, in]`, rank r. Multiply-adds beyond those of the frozen layer:
//!
//! | | factored | folded |
//! |---|---|---|
//! | forward | T·r·(in + out) | r·in·out |
//! | dx | T·r·(in + out) | r·in·out |
//! | gA, gB | T·r·(in + out) each; `x·Aᵀ` and `dy·B` are shared with the rows above | the same |
//!
//! A start (`- s·B₀·A₀`) makes the factors 2r wide and costs nothing else: `x·Aᵀ` is the first half of what forward
//! computes, `dy·B` the sum of both halves of `dy·[B - B₀, B₀]`.
//!
//! Folding writes `W + s·B·A` once (and again in backward, so that nothing of size `[out, in]` is kept), which wins
//! as soon as T > in·out/(in + out). It rounds the sum to the kind of `W`, so it is used only where that is the kind
//! of the factors: in bf16 a small update would vanish.

use autograd::{Function, Needs, SavedTensor};
use tch::Tensor;

use super::products::{add_product, fold, rows, with_last};
use super::{Dropout, multiplied};
use crate::{Base, FrozenWeight};

/// Which of the equivalent orders of multiplication to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// `x·Wᵀ + s·(x·Aᵀ)·Bᵀ`.
    Factored,
    /// `x·(W + s·B·A)ᵀ`.
    Folded,
}

impl Plan {
    /// The cheaper order for `tokens` rows of input.
    pub fn cheaper(tokens: i64, out_features: i64, in_features: i64) -> Self {
        if tokens * (in_features + out_features) > in_features * out_features {
            Self::Folded
        } else {
            Self::Factored
        }
    }
}

/// Inputs: `x [.., in]`, `A [r, in]`, `B [out, r]`. Output: `[.., out]`.
pub(super) struct LowRankLinear<'a> {
    pub base: Base<'a>,
    pub scaling: f64,
    pub start: Option<&'a (Tensor, Tensor)>,
    pub dropout: Option<(Dropout, u64)>,
}

pub(super) struct Saved {
    weight: Box<dyn FrozenWeight>,
    scaling: f64,
    start: Option<(Tensor, Tensor)>,
    dropout: Option<(Dropout, u64)>,
    plan: Plan,
    a: SavedTensor,
    b: SavedTensor,
    /// Kept where the gradient of A wants it.
    x: Option<SavedTensor>,
    /// `x·Aᵀ [T, r]`, all that the gradient of B wants: kept instead of `x` where A is frozen.
    down: Option<SavedTensor>,
}

impl Function for LowRankLinear<'_> {
    type Saved = Option<Saved>;

    fn forward(&self, inputs: &[&Tensor], needs: Needs<'_>) -> (Vec<Tensor>, Option<Saved>) {
        let [x, a, b] = inputs else { unreachable!("called with x, A, B") };
        let (rank, shape) = (a.size()[0], with_last(x, b.size()[0]));
        let x_rows = rows(x);
        let plan = self.plan(x_rows.size()[0], a, b);
        let branch = dropped(&x_rows, self.dropout).to_kind(a.kind());
        let (up, down) = multiplied(a, b, self.scaling, self.start);

        let mut kept = None;
        let y = match plan {
            Plan::Folded => {
                if needs.input(2) && !needs.input(1) {
                    kept = Some(branch.mm(&a.tr()));
                }
                x_rows.linear(&fold(self.base.weight, &up, &down), self.base.bias)
            }
            Plan::Factored => {
                let mut y = self.base.linear(&x_rows);
                let inner = branch.mm(&down.tr());
                add_product(&mut y, &inner, &up.tr());
                if let (Some((b0, a0)), Some(_)) = (self.start, self.dropout) {
                    let lost = &branch - x_rows.to_kind(a0.kind());
                    add_product(&mut y, &lost.mm(&a0.tr()), &(b0 * self.scaling).tr());
                }
                if needs.input(2) {
                    kept = Some(inner.narrow(1, 0, rank).contiguous());
                }
                y
            }
        };
        let saved = needs.any().then(|| Saved {
            weight: self.base.weight.share(),
            scaling: self.scaling,
            start: self.start.map(|(b0, a0)| (b0.shallow_clone(), a0.shallow_clone())),
            dropout: self.dropout,
            plan,
            a: SavedTensor::new(a),
            b: SavedTensor::new(b),
            x: needs.input(1).then(|| SavedTensor::new(x)),
            down: kept.as_ref().map(SavedTensor::new),
        });
        (vec![y.view(shape.as_slice())], saved)
    }

    fn backward(saved: &Option<Saved>, grads: &[Option<Tensor>], needs: Needs<'_>) -> Vec<Option<Tensor>> {
        let Some(saved) = saved else { unreachable!("backward runs only if something needs a gradient") };
        let Some(dy) = &grads[0] else { return vec![None, None, None] };
        let (a, b) = (saved.a.unpack(), saved.b.unpack());
        let dy_rows = rows(dy); // [T, out]
        let branch_dy = dy_rows.to_kind(b.kind());
        let branch_x = saved.x.as_ref().map(|x| dropped(&rows(x.unpack()), saved.dropout).to_kind(a.kind()));

        let (up, down) = multiplied(a, b, saved.scaling, saved.start.as_ref());
        let factored_dx = needs.input(0) && saved.plan == Plan::Factored;
        // dy·(s·B) [T, r], or with a start both halves [T, 2r]
        let outer = (needs.input(1) || factored_dx).then(|| branch_dy.mm(&up));

        let dx = needs.then(0, || {
            let dx = match (saved.plan, &outer) {
                (Plan::Factored, Some(outer)) => saved.grad_input(&dy_rows, outer, &down),
                _ => dy_rows.mm(&fold(&*saved.weight, &up, &down)),
            };
            dx.view(with_last(dy, a.size()[1]).as_slice())
        });
        let da = needs.then(1, || {
            let (outer, x) = (outer.as_ref().expect("needed"), branch_x.as_ref().expect("kept for A"));
            let halves = outer.chunk(if saved.start.is_some() { 2 } else { 1 }, 1);
            halves.into_iter().reduce(|sum, half| sum + half).expect("at least one").tr().mm(x)
        });
        let db = needs.then(2, || {
            let down = match (&saved.down, &branch_x) {
                (Some(down), _) => down.unpack().shallow_clone(),
                (None, Some(x)) => x.mm(&a.tr()),
                (None, None) => unreachable!("`x` is kept where `down` is not"),
            };
            branch_dy.tr().mm(&down) * saved.scaling
        });
        vec![dx, da, db]
    }
}

impl LowRankLinear<'_> {
    fn plan(&self, tokens: i64, a: &Tensor, b: &Tensor) -> Plan {
        let exact = self.base.weight.kind() == a.kind() && self.dropout.is_none();
        if exact { Plan::cheaper(tokens, b.size()[0], a.size()[1]) } else { Plan::Factored }
    }
}

impl Saved {
    /// `dy·(W + ΔW)` for rows `dy [T, out]` in the factored order; `outer` is `dy·up`.
    fn grad_input(&self, dy: &Tensor, outer: &Tensor, down: &Tensor) -> Tensor {
        let mut dx = self.weight.grad_input(dy);
        let Some((dropout, seed)) = self.dropout else {
            add_product(&mut dx, outer, down);
            return dx;
        };
        let mask = dropout.mask(&dx, seed);
        let mut branch = outer.mm(down);
        if let Some((_, a0)) = &self.start {
            let constant = outer.narrow(1, a0.size()[0], a0.size()[0]).mm(a0);
            branch += &constant;
            dx -= constant;
        }
        dx += branch * mask;
        dx
    }
}

fn dropped(rows: &Tensor, dropout: Option<(Dropout, u64)>) -> Tensor {
    match dropout {
        Some((dropout, seed)) => rows * dropout.mask(rows, seed),
        None => rows.shallow_clone(),
    }
}
