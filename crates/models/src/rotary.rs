//! Rotary position embeddings.

use std::f64::consts::TAU;

use autograd::{Function, Needs};
use tch::{Device, Kind, Tensor};

use crate::rows;

/// Settings of the rotary embedding.
///
/// Pair i of the first d entries of a head is turned by the angle p·fᵢ at position p, with fᵢ = θ^(−2i/d) before
/// scaling; the other entries stay. Source: Su et al., arXiv 2104.09864.
#[derive(Clone, Debug, PartialEq)]
pub struct RotaryConfig {
    /// θ.
    pub theta: f64,
    /// Change of the frequencies for longer contexts.
    pub scaling: RotaryScaling,
    /// Entries of a head that turn, d.
    pub dim: i64,
    /// Which of them belong together.
    pub pairs: Pairs,
}

/// The two entries of pair i.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// i and i + d/2 (Llama).
    Halves,
    /// 2i and 2i + 1 (GPT-J).
    Adjacent,
}

/// How frequencies are changed for contexts longer than those of pretraining.
#[derive(Clone, Debug, PartialEq)]
pub enum RotaryScaling {
    /// Not at all.
    None,
    /// All divided by `factor`.
    Linear {
        /// Ratio of the new to the old context.
        factor: f64,
    },
    /// Llama 3: with λ = 2π/f and the old context L, frequencies of λ < L/`high` stay, those of λ > L/`low` are
    /// divided by `factor`, and in between both are mixed linearly in L/λ.
    Llama3 {
        /// Divisor of low frequencies.
        factor: f64,
        /// `low`.
        low_freq_factor: f64,
        /// `high`.
        high_freq_factor: f64,
        /// L.
        original_context: f64,
    },
}

impl RotaryConfig {
    /// `[d / 2]` frequencies, rounded to f32 at the steps where transformers rounds.
    pub fn frequencies(&self) -> Vec<f32> {
        (0..self.dim / 2)
            .map(|i| {
                let exponent = (2 * i) as f32 / self.dim as f32;
                let f = 1.0 / (self.theta as f32).powf(exponent);
                self.scaling.apply(f64::from(f)) as f32
            })
            .collect()
    }
}

impl RotaryScaling {
    fn apply(&self, f: f64) -> f64 {
        match *self {
            Self::None => f,
            Self::Linear { factor } => f / factor,
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                let wavelength = TAU / f;
                if wavelength < original_context / high_freq_factor {
                    f
                } else if wavelength > original_context / low_freq_factor {
                    f / factor
                } else {
                    let smooth = (original_context / wavelength - low_freq_factor)
                        / (high_freq_factor - low_freq_factor);
                    (1.0 - smooth) * f / factor + smooth * f
                }
            }
        }
    }
}

/// Cosines and sines of all positions of a context.
#[derive(Debug)]
pub(crate) struct Rotary {
    cos: Tensor,
    sin: Tensor,
    pairs: Pairs,
}

impl Rotary {
    pub(crate) fn new(config: &RotaryConfig, context: i64, kind: Kind, device: Device) -> Self {
        let frequencies = Tensor::from_slice(&config.frequencies());
        let positions = Tensor::arange(context, (Kind::Float, Device::Cpu));
        let angles = positions.outer(&frequencies).view([context, 1, config.dim / 2]);
        let table = |t: Tensor| t.to_kind(kind).to_device(device);
        Self { cos: table(angles.cos()), sin: table(angles.sin()), pairs: config.pairs }
    }

    /// Cosines and sines of the first `count` positions, `[count, d/2]`, if these are halves of a head.
    pub(crate) fn tables(&self, count: i64) -> Option<[Vec<f32>; 2]> {
        let values =
            |t: &Tensor| Vec::try_from(t.narrow(0, 0, count).reshape(-1)).expect("a tensor of numbers");
        (self.pairs == Pairs::Halves).then(|| [values(&self.cos), values(&self.sin)])
    }

    /// For positions `start..start + count` in every row.
    pub(crate) fn range(&self, start: i64, count: i64) -> Rotation {
        let rows = |t: &Tensor| t.narrow(0, start, count).unsqueeze(0);
        Rotation { cos: rows(&self.cos), sin: rows(&self.sin), pairs: self.pairs }
    }

    /// For `positions [B, T]`.
    pub(crate) fn at(&self, positions: &Tensor) -> Rotation {
        let size = positions.size();
        let rows = |t: &Tensor| t.index_select(0, &positions.reshape(-1)).view([size[0], size[1], 1, -1]);
        Rotation { cos: rows(&self.cos), sin: rows(&self.sin), pairs: self.pairs }
    }
}

/// Cosines and sines `[1 or B, T, 1, d/2]` of the tokens at hand.
#[derive(Debug)]
pub(crate) struct Rotation {
    cos: Tensor,
    sin: Tensor,
    pairs: Pairs,
}

impl Clone for Rotation {
    fn clone(&self) -> Self {
        Self { cos: self.cos.shallow_clone(), sin: self.sin.shallow_clone(), pairs: self.pairs }
    }
}

impl Rotation {
    /// Turns `x [B, T, heads, d]`.
    pub(crate) fn apply(&self, x: &Tensor) -> Tensor {
        Rotate(self).apply1(&[x]).expect("a fresh tensor")
    }

    /// `(x₁cos − x₂sin, x₂cos + x₁sin)`, or, for `direction` −1, the reverse.
    fn turn(&self, x: &Tensor, direction: f64) -> Tensor {
        let y = x.empty_like();
        let half = self.cos.size()[3];
        let row_bytes = 2 * x.kind().elt_size_in_bytes() * (x.size()[2] * x.size()[3]) as usize;
        let (batch, tokens) = (x.size()[0], x.size()[1]);
        let shared = self.cos.size()[0] == 1;
        let rest = x.size()[3] - 2 * half;
        if rest > 0 {
            y.narrow(3, 2 * half, rest).copy_(&x.narrow(3, 2 * half, rest));
        }
        // Blocks of whole rows of the batch, or, where one row is too long already, none.
        for (start, length) in rows::blocks(batch, row_bytes * tokens as usize, x.device()) {
            let pick = |t: &Tensor| if shared { t.shallow_clone() } else { t.narrow(0, start, length) };
            let (cos, sin) = (pick(&self.cos), pick(&self.sin) * direction);
            let (x, y) = (x.narrow(0, start, length), y.narrow(0, start, length));
            let pairs = |t: &Tensor| match self.pairs {
                Pairs::Halves => (t.narrow(3, 0, half), t.narrow(3, half, half)),
                Pairs::Adjacent => (t.slice(3, 0, 2 * half, 2), t.slice(3, 1, 2 * half, 2)),
            };
            let ((x1, x2), (y1, y2)) = (pairs(&x), pairs(&y));
            let _ = x1.mul_out(&y1, &cos).addcmul_(&x2, &sin.neg());
            let _ = x2.mul_out(&y2, &cos).addcmul_(&x1, &sin);
        }
        y
    }
}

/// The rotation is linear and orthogonal: backward turns the other way and keeps nothing but the angles.
struct Rotate<'a>(&'a Rotation);

impl Function for Rotate<'_> {
    type Saved = Rotation;

    fn forward(&self, inputs: &[&Tensor], _: Needs<'_>) -> (Vec<Tensor>, Rotation) {
        (vec![self.0.turn(inputs[0], 1.0)], self.0.clone())
    }

    fn backward(rotation: &Rotation, grads: &[Option<Tensor>], _: Needs<'_>) -> Vec<Option<Tensor>> {
        vec![grads[0].as_ref().map(|dy| rotation.turn(dy, -1.0))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autograd::{Gradcheck, gradcheck};

    const HEAD_DIM: i64 = 6;

    fn rotary(dim: i64, pairs: Pairs) -> Rotary {
        let config = RotaryConfig { theta: 100.0, scaling: RotaryScaling::None, dim, pairs };
        Rotary::new(&config, 10, Kind::Double, Device::Cpu)
    }

    /// `x∘cos + turned(x)∘sin`, with every angle written out for each entry.
    fn definition(x: &Tensor, rotation: &Rotation) -> Tensor {
        let half = rotation.cos.size()[3];
        let (own, rest) = (x.narrow(3, 0, 2 * half), x.narrow(3, 2 * half, HEAD_DIM - 2 * half));
        let own = match rotation.pairs {
            Pairs::Halves => {
                let turned = Tensor::cat(&[-own.narrow(3, half, half), own.narrow(3, 0, half)], 3);
                let whole = |t: &Tensor| Tensor::cat(&[t, t], 3);
                own * whole(&rotation.cos) + turned * whole(&rotation.sin)
            }
            Pairs::Adjacent => {
                let (even, odd) = (own.slice(3, 0, None, 2), own.slice(3, 1, None, 2));
                let turned = Tensor::stack(&[-odd, even], 4).flatten(3, 4);
                let whole = |t: &Tensor| t.repeat_interleave_self_int(2, 3, None);
                own * whole(&rotation.cos) + turned * whole(&rotation.sin)
            }
        };
        Tensor::cat(&[own, rest], 3)
    }

    #[test]
    fn agrees_with_the_definition_and_finite_differences() {
        tch::manual_seed(0);
        let positions = Tensor::from_slice2(&[[0i64, 0, 1, 2], [3, 4, 5, 9]]);
        for (dim, pairs) in
            [(6, Pairs::Halves), (4, Pairs::Halves), (6, Pairs::Adjacent), (4, Pairs::Adjacent)]
        {
            let rotary = rotary(dim, pairs);
            for rotation in [rotary.range(3, 4), rotary.at(&positions)] {
                let options = (Kind::Double, Device::Cpu);
                let x = Tensor::randn([2, 4, 3, HEAD_DIM], options).set_requires_grad(true);
                let difference = (rotation.apply(&x) - definition(&x, &rotation)).abs().max();
                assert!(difference.double_value(&[]) < 1e-14);
                gradcheck(Gradcheck::default(), &[x], |x| vec![rotation.apply(&x[0])]).unwrap();
            }
        }
    }

    /// The reason for rotary positions: products of queries and keys depend on the distance only.
    #[test]
    fn products_depend_on_the_distance() {
        let rotary = rotary(HEAD_DIM, Pairs::Halves);
        let (q, k) = (
            Tensor::randn([1, 1, 1, 6], (Kind::Double, Device::Cpu)),
            Tensor::ones([1, 1, 1, 6], (Kind::Double, Device::Cpu)),
        );
        let product =
            |i, j| (rotary.range(i, 1).apply(&q) * rotary.range(j, 1).apply(&k)).sum(None).double_value(&[]);
        // The tables hold f32 angles.
        assert!((product(5, 2) - product(9, 6)).abs() < 1e-5);
        assert!((product(5, 2) - product(5, 3)).abs() > 1e-3);
    }
}
