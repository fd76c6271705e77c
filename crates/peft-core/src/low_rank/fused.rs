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
//! Folding writes `W + s·B·A` once (and again in backward, so that nothing of size `[out, in]` is kept), which wins
//! as soon as T > in·out/(in + out). It rounds the sum to the kind of `W`, so it is used only where that is the kind
//! of the factors: in bf16 a small update would vanish.

use autograd::{Function, Needs, SavedTensor};
use tch::Tensor;

use super::Dropout;
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
        let (rows, shape) = (flat(x), with_last(x, b.size()[0]));
        let plan = self.plan(rows.size()[0], a, b);
        let branch = dropped(&rows, self.dropout).to_kind(a.kind());

        let mut down = None;
        let y = match plan {
            Plan::Folded => {
                if needs.input(2) && !needs.input(1) {
                    down = Some(branch.mm(&a.tr()));
                }
                rows.linear(&fold(self.base.weight, self.scaling, self.start, a, b), self.base.bias)
            }
            Plan::Factored => {
                let mut y = self.base.linear(&rows);
                let u = branch.mm(&a.tr());
                add_product(&mut y, &u, &(*b * self.scaling).tr());
                if let Some((b0, a0)) = self.start {
                    add_product(&mut y, &rows.to_kind(a0.kind()).mm(&a0.tr()), &(b0 * -self.scaling).tr());
                }
                if needs.input(2) {
                    down = Some(u);
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
            down: down.as_ref().map(SavedTensor::new),
        });
        (vec![y.view(shape.as_slice())], saved)
    }

    fn backward(saved: &Option<Saved>, grads: &[Option<Tensor>], needs: Needs<'_>) -> Vec<Option<Tensor>> {
        let Some(saved) = saved else { unreachable!("backward runs only if something needs a gradient") };
        let Some(dy) = &grads[0] else { return vec![None, None, None] };
        let (a, b) = (saved.a.unpack(), saved.b.unpack());
        let rows = flat(dy); // [T, out]
        let branch_dy = rows.to_kind(b.kind());
        let branch_x = saved.x.as_ref().map(|x| dropped(&flat(x.unpack()), saved.dropout).to_kind(a.kind()));

        let factored_dx = needs.input(0) && saved.plan == Plan::Factored;
        // dy·(s·B) [T, r]
        let up = (needs.input(1) || factored_dx).then(|| branch_dy.mm(&(b * saved.scaling)));

        let dx = needs
            .then(0, || saved.grad_input(&rows, up.as_ref()).view(with_last(dy, a.size()[1]).as_slice()));
        let da = needs.then(1, || {
            let (up, x) = (up.as_ref().expect("needed"), branch_x.as_ref().expect("kept for A"));
            up.tr().mm(x)
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
    /// `dy·(W + s·B·A)` for rows `dy [T, out]`.
    fn grad_input(&self, dy: &Tensor, up: Option<&Tensor>) -> Tensor {
        let (a, b) = (self.a.unpack(), self.b.unpack());
        match self.plan {
            Plan::Folded => dy.mm(&fold(&*self.weight, self.scaling, self.start.as_ref(), a, b)),
            Plan::Factored => {
                let mut dx = self.weight.grad_input(dy);
                let up = up.expect("the factored order needs dy·B");
                match self.dropout {
                    None => add_product(&mut dx, up, a),
                    Some((dropout, seed)) => {
                        let branch = up.mm(a);
                        dx += &branch * dropout.mask(&dx, seed);
                    }
                }
                if let Some((b0, a0)) = &self.start {
                    add_product(&mut dx, &dy.to_kind(b0.kind()).mm(&(b0 * -self.scaling)), a0);
                }
                dx
            }
        }
    }
}

/// `W + s·B·A (- s·B₀·A₀)`, a fresh tensor `[out, in]`.
fn fold(
    weight: &dyn FrozenWeight,
    scaling: f64,
    start: Option<&(Tensor, Tensor)>,
    a: &Tensor,
    b: &Tensor,
) -> Tensor {
    let scaled = b * scaling;
    let mut folded = match weight.as_dense() {
        Some(dense) => dense.addmm(&scaled, a),
        None => weight.dense().addmm_(&scaled, a),
    };
    if let Some((b0, a0)) = start {
        let _ = folded.addmm_(&(b0 * -scaling), a0);
    }
    folded
}

/// `y += left·right`, in one pass where the kinds agree.
fn add_product(y: &mut Tensor, left: &Tensor, right: &Tensor) {
    if y.kind() == left.kind() {
        let _ = y.addmm_(left, right);
    } else {
        *y += left.mm(right);
    }
}

fn dropped(rows: &Tensor, dropout: Option<(Dropout, u64)>) -> Tensor {
    match dropout {
        Some((dropout, seed)) => rows * dropout.mask(rows, seed),
        None => rows.shallow_clone(),
    }
}

/// `[.., n] -> [T, n]`.
fn flat(x: &Tensor) -> Tensor {
    x.reshape([-1, *x.size().last().expect("a layer's input has a last axis")])
}

fn with_last(x: &Tensor, features: i64) -> Vec<i64> {
    let mut size = x.size();
    *size.last_mut().expect("a layer's input has a last axis") = features;
    size
}
