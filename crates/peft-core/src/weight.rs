use std::fmt::Debug;

use tch::{Kind, Tensor};

/// The frozen weight of one site, `W [out, in]`, in whatever form it is stored.
///
/// `Send`, because contexts of custom backward own a handle.
pub trait FrozenWeight: Debug + Send {
    /// `x·Wᵀ (+ bias)`; `x [.., in] -> [.., out]`. Differentiable in `x` and `bias`.
    fn linear(&self, x: &Tensor, bias: Option<&Tensor>) -> Tensor;

    /// `dy·W`; `dy [.., out] -> [.., in]`. Not recorded.
    fn grad_input(&self, dy: &Tensor) -> Tensor;

    /// The stored tensor, if it is stored densely.
    fn as_dense(&self) -> Option<&Tensor>;

    /// `W` as a dense tensor `[out, in]`: a handle to the stored one, or, where [`Self::as_dense`] is `None`, a
    /// fresh tensor that the caller may write to.
    fn dense(&self) -> Tensor;

    /// The kind in which `linear` computes.
    fn kind(&self) -> Kind;

    /// Bytes of storage.
    fn bytes(&self) -> u64;

    /// Another handle to the same storage.
    fn share(&self) -> Box<dyn FrozenWeight>;

    /// As checkpoints hold it: tensors by what follows the weight's name, which itself is `""`.
    fn stored(&self) -> Vec<(&'static str, Tensor)> {
        vec![("", self.dense())]
    }
}

/// A weight stored as it is, f32, f64 or bf16. May be a transposed view (GPT-2's `Conv1D`).
#[derive(Debug)]
pub struct Dense(Tensor);

impl Dense {
    /// `weight [out, in]`, detached.
    pub fn new(weight: &Tensor) -> Self {
        Self(weight.detach())
    }
}

impl FrozenWeight for Dense {
    fn linear(&self, x: &Tensor, bias: Option<&Tensor>) -> Tensor {
        x.linear(&self.0, bias)
    }

    fn grad_input(&self, dy: &Tensor) -> Tensor {
        dy.matmul(&self.0)
    }

    fn as_dense(&self) -> Option<&Tensor> {
        Some(&self.0)
    }

    fn dense(&self) -> Tensor {
        self.0.shallow_clone()
    }

    fn kind(&self) -> Kind {
        self.0.kind()
    }

    fn bytes(&self) -> u64 {
        (self.0.numel() * self.0.kind().elt_size_in_bytes()) as u64
    }

    fn share(&self) -> Box<dyn FrozenWeight> {
        Box::new(Self(self.0.shallow_clone()))
    }
}

/// How frozen weights of a run are stored.
pub trait Storage: Debug {
    /// Stores `weight [out, in]`.
    fn freeze(&self, weight: &Tensor) -> Box<dyn FrozenWeight>;

    /// What is left of `weight` after storing: `freeze(weight).dense()`.
    fn round_trip(&self, weight: &Tensor) -> Tensor {
        self.freeze(weight).dense()
    }

    /// Whether `round_trip` changes values, so that a frozen weight cannot be rebuilt from a stored one.
    fn is_lossy(&self) -> bool;
}

/// Weights are kept as they were loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsLoaded;

impl Storage for AsLoaded {
    fn freeze(&self, weight: &Tensor) -> Box<dyn FrozenWeight> {
        Box::new(Dense::new(weight))
    }

    fn is_lossy(&self) -> bool {
        false
    }
}
