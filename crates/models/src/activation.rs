//! Pointwise nonlinearities.

use peft_core::{Error, Result};
use tch::Tensor;

/// A pointwise nonlinearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x·σ(x).
    Silu,
    /// x·Φ(x).
    Gelu,
    /// GELU with Φ approximated by a hyperbolic tangent.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// tanh x.
    Tanh,
}

/// By the names of transformers.
const NAMES: [(&str, Activation); 9] = [
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("gelu", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("relu", Activation::Relu),
    ("tanh", Activation::Tanh),
    ("gelu_python", Activation::Gelu),
];

impl Activation {
    /// By the name that stands in a config under `key`.
    ///
    /// # Errors
    /// [`Error::Config`] for one that is not supported.
    pub fn parse(key: &str, name: &str) -> Result<Self> {
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, activation)| *activation).ok_or_else(|| {
            let known: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            Error::config(key, name, format!("supported are {}", known.join(", ")))
        })
    }

    /// Of every entry of `x`.
    pub fn apply(self, x: &Tensor) -> Tensor {
        match self {
            Self::Silu => x.silu(),
            Self::Gelu => x.gelu("none"),
            Self::GeluTanh => x.gelu("tanh"),
            Self::Relu => x.relu(),
            Self::Tanh => x.tanh(),
        }
    }
}
