use tch::Tensor;

/// A tensor kept for `backward`, detached (so that saving an output makes no reference cycle) and guarded:
/// if its values are changed in place between `forward` and `backward`, reading it fails.
#[derive(Debug)]
pub struct SavedTensor {
    tensor: Tensor,
    version: i64,
}

impl SavedTensor {
    /// Keeps `tensor`; shares its storage.
    pub fn new(tensor: &Tensor) -> Self {
        let tensor = tensor.detach();
        let version = tensor.internal_version();
        Self { tensor, version }
    }

    /// The values as they were in `forward`.
    ///
    /// # Panics
    /// If the tensor was modified in place since; inside `backward` this becomes an error of `f_backward`.
    pub fn unpack(&self) -> &Tensor {
        let now = self.tensor.internal_version();
        assert!(
            now == self.version,
            "a saved tensor of shape {:?} was modified in place after forward (version {} became {now})",
            self.tensor.size(),
            self.version,
        );
        &self.tensor
    }
}
