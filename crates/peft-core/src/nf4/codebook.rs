//! The tables: 16 levels for weights, 256 for the `absmax` of double quantization.

use tch::{Device, Kind, Tensor};

/// The levels of NF4: 8 quantiles of N(0, 1) above zero, 7 below, and zero itself, scaled to [-1, 1]
/// (arXiv 2305.14314, appendix E; the values of bitsandbytes).
pub const LEVELS: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// The code of zero.
pub(super) const ZERO: i64 = 7;

/// The 256 signed levels of bitsandbytes' dynamic 8-bit map: a leading unary exponent of base 10, then a linear fraction.
/// Ascending, from -0.993 to 1, finest near zero.
pub fn dynamic_map(device: Device) -> Tensor {
    const EXPONENT_BITS: i32 = 7;
    let mut levels = vec![Tensor::from_slice(&[0.0f32, 1.0])];
    for exponent in 0..EXPONENT_BITS {
        let boundaries =
            Tensor::linspace(0.1, 1.0, 2i64.pow(exponent.cast_unsigned()) + 1, (Kind::Float, Device::Cpu));
        let count = boundaries.size()[0] - 1;
        let means = (boundaries.narrow(0, 0, count) + boundaries.narrow(0, 1, count)) / 2.0;
        let scaled = means * 10f64.powi(exponent + 1 - EXPONENT_BITS);
        levels.push(-&scaled);
        levels.push(scaled);
    }
    Tensor::cat(&levels, 0).sort(0, false).0.to_device(device)
}

/// The index of the level nearest to each of `values`, int32; a value half-way between two takes the lower.
pub(super) fn nearest(values: &Tensor, levels: &Tensor) -> Tensor {
    let count = levels.size()[0] - 1;
    let midpoints = (levels.narrow(0, 0, count) + levels.narrow(0, 1, count)) / 2.0;
    values.bucketize(&midpoints, true, false)
}

/// For each byte the levels of its two codes, `[256]` of one 64-bit word each, so that one gather fetches both.
pub(super) fn pairs(device: Device) -> Tensor {
    let both: Vec<f32> = (0..256).flat_map(|byte| [LEVELS[byte >> 4], LEVELS[byte & 15]]).collect();
    Tensor::from_slice(&both).view_dtype(Kind::Double).to_device(device)
}
