//! NF4, the 4-bit format of QLoRA (Dettmers et al. 2023, arXiv 2305.14314), in the layout of bitsandbytes.
//!
//! `W [out, in]` is read row by row and cut into blocks of 64 values (the last one may be shorter). A block is stored as
//! `absmax = max|w|` and one 4-bit code for each value, the index of the nearest level of a fixed table of 16 quantiles of
//! N(0, 1) in [-1, 1]; `ŵ = level(code)·absmax`, computed in f32 and rounded once to the kind of the base.
//!
//! Bits for each value: 4 + 32/64 = 4.5. Double quantization stores the `absmax` themselves in 8 bits: 4.127.
//!
//! | bound | |
//! |---|---|
//! | \|w - ŵ\| | ≤ 0.15191·absmax (half the widest gap between levels) |
//! | idempotent | quantizing ŵ gives the same codes and `absmax` (f32, without double quantization) |
//!
//! No dense copy is kept: forward, and backward again, dequantize what they multiply with.

mod codebook;
mod double;
mod linear;
mod tensor;

pub use codebook::{LEVELS, dynamic_map};
pub use tensor::{Nf4Tensor, STATE_SUFFIX, is_part};

use tch::Tensor;

use crate::{FrozenWeight, Storage};

/// Frozen weights in NF4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nf4 {
    /// Values that share one `absmax`.
    pub block_size: i64,
    /// Whether the `absmax` are stored in 8 bits.
    pub double_quantization: bool,
}

impl Nf4 {
    /// Blocks of 64, `absmax` in f32.
    pub const PLAIN: Self = Self { block_size: 64, double_quantization: false };
    /// Blocks of 64, `absmax` in 8 bits.
    pub const DOUBLE: Self = Self { block_size: 64, double_quantization: true };

    /// Quantizes `weight [out, in]`; what is computed with it has the kind of `weight`.
    pub fn quantize(self, weight: &Tensor) -> Nf4Tensor {
        tch::no_grad(|| Nf4Tensor::quantize(weight, self))
    }
}

impl Storage for Nf4 {
    fn freeze(&self, weight: &Tensor) -> Box<dyn FrozenWeight> {
        Box::new(self.quantize(weight))
    }

    fn is_lossy(&self) -> bool {
        true
    }
}
