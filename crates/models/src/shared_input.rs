use peft_core::{AdaptedLinear, Mode, Part};
use tch::Tensor;

/// Layers that read the same input: query, key and value; gate and up.
///
/// The place where work on the common input can be shared; here every layer runs by itself.
#[derive(Debug)]
pub(crate) struct SharedInput<const N: usize>(pub [AdaptedLinear; N]);

impl<const N: usize> SharedInput<N> {
    /// The outputs, in order.
    pub(crate) fn forward(&self, x: &Tensor, mode: Mode) -> [Tensor; N] {
        std::array::from_fn(|i| self.0[i].forward(x, mode))
    }

    pub(crate) fn parts(&mut self) -> impl Iterator<Item = Part<'_>> {
        self.0.iter_mut().map(Part::Linear)
    }
}
