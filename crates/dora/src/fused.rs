//! Forward and backward of `y = c∘(x·(W + B·A)ᵀ) + b`, c = m/n, in one autograd node.
//!
//! T tokens. n costs 2·r·in·out operations and no `[out, in]` ([`crate::norm`]). Of the rest:
//!
//! * z = y - b is kept instead of v = x·Vᵀ: `∂L/∂m_o = Σ_t dy·v/n = Σ_t dy·z/m`, and without a bias z is the output,
//!   which whoever comes next keeps anyway. Rows with m = 0 have lost v; theirs is computed again.
//! * c goes into the factors: `[out, r]`. In the factored order the base term costs a pass over `[T, out]` in each
//!   direction, in the folded order `diag(c)·V` is written once for all tokens.
//! * The gradient through n needs `(k∘B)ᵀ·V`, k = c·∂m/n: one more product with W, of size `[r, in]`.

use autograd::{Function, Needs, SavedTensor};
use tch::{Kind, Tensor};

use peft_core::low_rank::Plan;
use peft_core::low_rank::products::{add_product, fold, rows, with_last};
use peft_core::{Base, FrozenWeight};

use crate::NormGradient;
use crate::norm::{Norms, norms, row_scale, times_left};

/// Inputs: `x [.., in]`, `A [r, in]`, `B [out, r]`, `m [out]`. Output: `[.., out]`.
pub struct DecomposedLinear<'a> {
    pub base: Base<'a>,
    pub squares: &'a Tensor,
    pub gradient: NormGradient,
}

pub struct Saved {
    weight: Box<dyn FrozenWeight>,
    gradient: NormGradient,
    plan: Plan,
    x: SavedTensor,
    a: SavedTensor,
    b: SavedTensor,
    m: SavedTensor,
    n: Tensor,
    /// `V·Aᵀ`, where n is differentiated.
    image: Option<Tensor>,
    /// z `[T, out]`, where m trains.
    z: Option<SavedTensor>,
}

impl Function for DecomposedLinear<'_> {
    type Saved = Option<Saved>;

    fn forward(&self, inputs: &[&Tensor], needs: Needs<'_>) -> (Vec<Tensor>, Option<Saved>) {
        let [x, a, b, m] = inputs else { unreachable!("called with x, A, B, m") };
        let weight = self.base.weight;
        let (x_rows, shape) = (rows(x), with_last(x, b.size()[0]));
        let Norms { n, image } = norms(weight, self.squares, b, a);
        let c = row_scale(m, &n);
        let exact = weight.kind() == a.kind();
        let plan =
            if exact { Plan::cheaper(x_rows.size()[0], b.size()[0], a.size()[1]) } else { Plan::Factored };

        let z = match plan {
            Plan::Folded => x_rows.mm(&scaled_fold(weight, b, a, &c).tr()),
            Plan::Factored => {
                let mut v = weight.linear(&x_rows, None);
                add_product(&mut v, &x_rows.to_kind(a.kind()).mm(&a.tr()), &b.tr());
                v *= &c;
                v
            }
        };
        let y = match self.base.bias {
            Some(bias) => &z + bias,
            None => z.shallow_clone(),
        };
        let through_norm = self.gradient == NormGradient::Full && (needs.input(1) || needs.input(2));
        let saved = needs.any().then(|| Saved {
            weight: weight.share(),
            gradient: self.gradient,
            plan,
            x: SavedTensor::new(x),
            a: SavedTensor::new(a),
            b: SavedTensor::new(b),
            m: SavedTensor::new(m),
            n,
            image: through_norm.then_some(image),
            z: (needs.input(3) || through_norm).then(|| SavedTensor::new(&z)),
        });
        (vec![y.view(shape.as_slice())], saved)
    }

    fn backward(saved: &Option<Saved>, grads: &[Option<Tensor>], needs: Needs<'_>) -> Vec<Option<Tensor>> {
        let Some(saved) = saved else { unreachable!("backward runs only if something needs a gradient") };
        let Some(dy) = &grads[0] else { return vec![None, None, None, None] };
        let (a, b) = (saved.a.unpack(), saved.b.unpack());
        let x_rows = rows(saved.x.unpack()).to_kind(a.kind());
        let dy_rows = rows(dy);
        let branch_dy = dy_rows.to_kind(b.kind());
        let c = row_scale(saved.m.unpack(), &saved.n);
        let scaled_b = c.unsqueeze(1) * b;

        let factored_dx = needs.input(0) && saved.plan == Plan::Factored;
        let outer = (needs.input(1) || factored_dx).then(|| branch_dy.mm(&scaled_b)); // dv·B [T, r]
        let dx = needs.then(0, || {
            let dx = match (saved.plan, &outer) {
                (Plan::Factored, Some(outer)) => {
                    let mut dx = saved.weight.grad_input(&(&dy_rows * &c).to_kind(dy.kind()));
                    add_product(&mut dx, outer, a);
                    dx
                }
                _ => dy_rows.mm(&scaled_fold(&*saved.weight, b, a, &c)),
            };
            dx.view(with_last(dy, a.size()[1]).as_slice())
        });
        let mut da = needs.then(1, || outer.as_ref().expect("needed").tr().mm(&x_rows));
        let mut db = needs.then(2, || branch_dy.tr().mm(&x_rows.mm(&a.tr())) * c.unsqueeze(1));
        let dm = saved.z.as_ref().map(|z| saved.grad_magnitude(z.unpack(), &branch_dy, &x_rows));
        if let (NormGradient::Full, Some(dm)) = (saved.gradient, &dm) {
            saved.add_norm_gradient(&c, dm, &mut da, &mut db);
        }
        vec![dx, da, db, needs.then(3, || dm.expect("z is kept where m trains"))]
    }
}

impl Saved {
    /// `Σ_t dy·v/n [out]`; 0 where n = 0.
    fn grad_magnitude(&self, z: &Tensor, dy: &Tensor, x: &Tensor) -> Tensor {
        let m = self.m.unpack();
        let sum = (dy * z).sum_dim_intlist(0, false, dy.kind());
        let dm = sum / m;
        let lost = m.eq(0.0).logical_and(&self.n.gt(0.0)).nonzero().view(-1);
        let dm = if lost.numel() == 0 {
            dm
        } else {
            let b = self.b.unpack().index_select(0, &lost);
            let weight = self.weight.dense().index_select(0, &lost).to_kind(b.kind());
            let v = x.mm(&weight.addmm(&b, self.a.unpack()).tr());
            let kept = (dy.index_select(1, &lost) * v).sum_dim_intlist(0, false, Kind::Double);
            dm.index_copy(0, &lost, &(kept.to_kind(dm.kind()) / self.n.index_select(0, &lost)))
        };
        dm.where_self(&self.n.gt(0.0), &self.n.zeros_like())
    }

    /// Takes from `∂L/∂V` its part along V: `k∘V` with k = c·∂m/n.
    fn add_norm_gradient(&self, c: &Tensor, dm: &Tensor, da: &mut Option<Tensor>, db: &mut Option<Tensor>) {
        let k = (c * dm / &self.n).where_self(&self.n.gt(0.0), &self.n.zeros_like()).unsqueeze(1);
        if let Some(db) = db {
            *db -= &k * self.image.as_ref().expect("kept where n is differentiated");
        }
        if let Some(da) = da {
            let (a, b) = (self.a.unpack(), self.b.unpack());
            let left = (k * b).tr(); // [r, out]
            *da -= times_left(&*self.weight, &left) + left.mm(b).mm(a);
        }
    }
}

/// `diag(c)·(W + B·A)`, a fresh tensor `[out, in]`.
fn scaled_fold(weight: &dyn FrozenWeight, b: &Tensor, a: &Tensor, c: &Tensor) -> Tensor {
    let mut folded = fold(weight, b, a);
    folded *= c.unsqueeze(1);
    folded
}
