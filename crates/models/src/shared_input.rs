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

    /// All weights as one `[in, Σ out]`, if the layers are nothing but products with them.
    pub(crate) fn side_by_side(&self) -> Option<Tensor> {
        if self.0.iter().any(|layer| layer.bias().is_some() || layer.frozen().as_dense().is_none()) {
            return None;
        }
        let weights: Option<Vec<Tensor>> = self.0.iter().map(AdaptedLinear::plain_weight).collect();
        Some(Tensor::cat(&weights?, 0).tr().contiguous())
    }

    pub(crate) fn parts(&mut self) -> impl Iterator<Item = Part<'_>> {
        self.0.iter_mut().map(Part::Linear)
    }
}
