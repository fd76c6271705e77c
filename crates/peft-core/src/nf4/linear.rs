//! `x·Ŵᵀ + b` that keeps the codes for backward, not Ŵ.

use autograd::{Function, Needs};
use tch::{Kind, Tensor};

use super::Nf4Tensor;
use crate::FrozenWeight;

/// Inputs: `x [.., in]` and, where there is one, `b [out]`.
pub(super) struct Nf4Linear<'a>(pub &'a Nf4Tensor);

impl Function for Nf4Linear<'_> {
    type Saved = Nf4Tensor;

    fn forward(&self, inputs: &[&Tensor], _: Needs<'_>) -> (Vec<Tensor>, Nf4Tensor) {
        (vec![inputs[0].linear(&self.0.dense(), inputs.get(1).copied())], self.0.another())
    }

    fn backward(weight: &Nf4Tensor, grads: &[Option<Tensor>], needs: Needs<'_>) -> Vec<Option<Tensor>> {
        let Some(dy) = &grads[0] else { return vec![None, None] };
        let dx = needs.then(0, || weight.grad_input(dy));
        let rows = || dy.reshape([-1, *dy.size().last().expect("has features")]);
        vec![dx, needs.then(1, || rows().sum_dim_intlist(0, false, None::<Kind>))]
    }
}
