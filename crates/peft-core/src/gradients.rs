use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use crate::{ParamId, ParamStore, Result};

/// Gradients of one optimizer step, summed over its micro-batches.
///
/// They live here and not in the tensors: what has no gradient has no entry, nothing needs zeroing, and a tensor
/// that a phase froze cannot move by a stale one.
#[derive(Debug, Default)]
pub struct Gradients {
    by_param: BTreeMap<ParamId, Tensor>,
}

impl Gradients {
    /// The gradient of `id`, if it took part.
    pub fn of(&self, id: ParamId) -> Option<&Tensor> {
        self.by_param.get(&id)
    }

    /// All gradients, in the order of the store.
    pub fn iter(&self) -> impl Iterator<Item = (ParamId, &Tensor)> {
        self.by_param.iter().map(|(id, gradient)| (*id, gradient))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_param.is_empty()
    }

    /// Adds ∂loss/∂p for every tensor of `store` that trains, and returns ∂loss/∂probe for each probe.
    ///
    /// # Errors
    /// If backward fails.
    pub fn accumulate(
        &mut self,
        loss: &Tensor,
        store: &ParamStore,
        probes: &[&Tensor],
    ) -> Result<Vec<Tensor>> {
        let (ids, tensors): (Vec<ParamId>, Vec<&Tensor>) =
            store.training().map(|(id, entry)| (id, &entry.tensor)).unzip();
        let inputs: Vec<&Tensor> = tensors.into_iter().chain(probes.iter().copied()).collect();
        let mut gradients = Tensor::f_run_backward(&[loss], &inputs, false, false)?;
        let probe_gradients = gradients.split_off(ids.len());
        for (id, gradient) in ids.into_iter().zip(gradients) {
            if gradient.defined() {
                self.by_param
                    .entry(id)
                    .and_modify(|sum| *sum += &gradient)
                    .or_insert_with(|| gradient.shallow_clone());
            }
        }
        Ok(probe_gradients)
    }

    /// Multiplies the gradients of masked tensors by their masks.
    pub fn apply_masks(&mut self, store: &ParamStore) {
        for (id, gradient) in &mut self.by_param {
            if let Some(mask) = store.entry(*id).mask() {
                *gradient = tch::no_grad(|| gradient.masked_fill(&mask.logical_not(), 0.0));
            }
        }
    }

    /// L2 norm of all gradients together.
    pub fn norm(&self) -> f64 {
        let squares: Vec<Tensor> =
            self.by_param.values().map(|g| g.norm().to_kind(Kind::Double).square()).collect();
        if squares.is_empty() { 0.0 } else { Tensor::stack(&squares, 0).sum(None).double_value(&[]).sqrt() }
    }
}
