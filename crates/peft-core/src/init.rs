//! Initializers, drawn on the host from a named stream and then moved: same bits on every device.

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::Seeds;

/// A distribution by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Initializer {
    /// [`kaiming_uniform_sqrt5`].
    KaimingUniformSqrt5,
    /// [`kaiming_uniform`].
    KaimingUniform,
}

/// A draw that can be repeated: a distribution and the stream it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draw {
    /// The distribution.
    pub initializer: Initializer,
    /// The stream.
    pub seeds: Seeds,
}

impl Draw {
    /// The values, kind Float.
    pub fn values(&self, shape: &[i64], device: Device) -> Tensor {
        let mut rng = self.seeds.rng();
        match self.initializer {
            Initializer::KaimingUniformSqrt5 => kaiming_uniform_sqrt5(shape, &mut rng, device),
            Initializer::KaimingUniform => kaiming_uniform(shape, &mut rng, device),
        }
    }
}

/// U(-bound, bound), kind Float.
pub fn uniform(shape: &[i64], bound: f32, rng: &mut impl Rng, device: Device) -> Tensor {
    // (2u - 1)·bound with u on the grid of 24 bits: exact in f32, so the same on every platform.
    fill(shape, device, || (rng.random::<f32>() * 2.0 - 1.0) * bound)
}

/// PEFT's default for `lora_A` of shape `[r, in]`: `kaiming_uniform_(a = √5)`, that is U(-1/√in, 1/√in).
///
/// (libtorch's own default gain would give √6/√in.)
pub fn kaiming_uniform_sqrt5(shape: &[i64], rng: &mut impl Rng, device: Device) -> Tensor {
    let fan_in = shape[1..].iter().product::<i64>() as f64;
    uniform(shape, (1.0 / fan_in.sqrt()) as f32, rng, device)
}

/// Kaiming's uniform distribution for layers followed by a ReLU: U(-√(6/in), √(6/in)), variance 2/in, for a matrix
/// `[out, in]`.
pub fn kaiming_uniform(shape: &[i64], rng: &mut impl Rng, device: Device) -> Tensor {
    let fan_in = shape[1..].iter().product::<i64>() as f64;
    uniform(shape, (6.0 / fan_in).sqrt() as f32, rng, device)
}

/// N(0, std²), kind Float.
pub fn normal(shape: &[i64], std: f32, rng: &mut impl Rng, device: Device) -> Tensor {
    fill(shape, device, || {
        let z: f32 = StandardNormal.sample(rng);
        z * std
    })
}

fn fill(shape: &[i64], device: Device, mut draw: impl FnMut() -> f32) -> Tensor {
    let count = shape.iter().product::<i64>() as usize;
    let values: Vec<f32> = (0..count).map(|_| draw()).collect();
    Tensor::from_slice(&values).view(shape).to(device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seeds;
    use tch::Kind;

    #[test]
    fn kaiming_bound_and_variance() {
        let mut rng = Seeds::new(0).rng();
        let a = kaiming_uniform_sqrt5(&[64, 256], &mut rng, Device::Cpu);
        let bound = 1.0 / 16.0;
        assert!(a.abs().max().double_value(&[]) <= bound);
        // Var U(-b, b) = b²/3; the sample variance of 16,384 draws is within 3 % with overwhelming probability.
        let variance = a.square().mean(Kind::Double).double_value(&[]);
        assert!((variance / (bound * bound / 3.0) - 1.0).abs() < 0.03, "{variance}");
    }

    #[test]
    fn normal_has_the_asked_deviation() {
        let n = normal(&[100, 100], 0.5, &mut Seeds::new(1).rng(), Device::Cpu);
        assert!((n.std(true).double_value(&[]) - 0.5).abs() < 0.02);
        assert!(n.mean(Kind::Double).double_value(&[]).abs() < 0.02);
    }
}
