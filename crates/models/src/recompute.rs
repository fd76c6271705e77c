//! Activation checkpointing: a block that keeps only its input and runs again in backward.

use autograd::{Function, Needs, SavedTensor};
use peft_core::{Mode, Result};
use tch::Tensor;

use crate::sequence::Sequence;
use crate::stack::SharedBlock;

/// One pass through a block. Inputs: `x`, then every tensor that may train in it, so that autograd knows whose
/// gradients come out of [`Function::backward`].
pub(crate) struct Recomputed<'a> {
    pub(crate) block: &'a SharedBlock,
    pub(crate) sequence: &'a Sequence,
    pub(crate) mode: Mode,
}

pub(crate) struct Saved {
    block: SharedBlock,
    sequence: Sequence,
    mode: Mode,
    x: SavedTensor,
    /// The leaves themselves, not detached: the inner graph must end in them.
    trainable: Vec<Tensor>,
}

impl Recomputed<'_> {
    pub(crate) fn forward(&self, x: &Tensor, trainable: &[Tensor]) -> Result<Tensor> {
        let inputs: Vec<&Tensor> = std::iter::once(x).chain(trainable).collect();
        Ok(self.apply1(&inputs)?)
    }
}

impl Function for Recomputed<'_> {
    type Saved = Saved;

    fn forward(&self, inputs: &[&Tensor], _: Needs<'_>) -> (Vec<Tensor>, Saved) {
        let y = self.block.lock().forward(inputs[0], self.sequence, None, self.mode);
        let saved = Saved {
            block: self.block.clone(),
            sequence: self.sequence.clone(),
            mode: self.mode,
            x: SavedTensor::new(inputs[0]),
            trainable: inputs[1..].iter().map(|t| t.shallow_clone()).collect(),
        };
        (vec![y], saved)
    }

    fn backward(saved: &Saved, grads: &[Option<Tensor>], needs: Needs<'_>) -> Vec<Option<Tensor>> {
        let count = 1 + saved.trainable.len();
        let Some(dy) = &grads[0] else { return (0..count).map(|_| None).collect() };
        let x = saved.x.unpack().detach().set_requires_grad(needs.input(0));
        let wanted: Vec<usize> = (0..count).filter(|&i| needs.input(i)).collect();
        let leaves: Vec<&Tensor> =
            wanted.iter().map(|&i| if i == 0 { &x } else { &saved.trainable[i - 1] }).collect();
        let gradients = tch::with_grad(|| {
            let y = saved.block.lock().forward(&x, &saved.sequence, None, saved.mode);
            // ⟨y, dy⟩ has the gradient dy at y, exactly.
            let pulled = (y * dy).sum(None);
            Tensor::f_run_backward(&[pulled], &leaves, false, false)
        });
        let gradients = gradients.unwrap_or_else(|error| panic!("recomputing a block: {error}"));
        let mut all: Vec<Option<Tensor>> = (0..count).map(|_| None).collect();
        for (index, gradient) in wanted.into_iter().zip(gradients) {
            all[index] = gradient.defined().then_some(gradient);
        }
        all
    }
}
