//! Normalization of activations.

use autograd::{Function, Needs, SavedTensor};
use peft_core::{Parameter, Part};
use tch::{Kind, Tensor};
use wide::f32x8;

use crate::rows;
use crate::weights::{Init, Weights};

/// Settings of the norms of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormConfig {
    /// Which norm.
    pub kind: NormKind,
    /// ε.
    pub eps: f64,
}

/// A norm over the last axis, computed in f32 at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// `y = x / √(mean(x²) + ε) ∘ w`. Source: Zhang and Sennrich, arXiv 1910.07467.
    Rms,
    /// The same with `1 + w`, multiplied before it is rounded to the kind of x (Gemma).
    RmsPlusOne,
    /// `y = (x − mean(x)) / √(var(x) + ε) ∘ w + b`. Source: Ba et al., arXiv 1607.06450.
    Layer,
}

/// A norm with its tensors.
#[derive(Debug)]
pub(crate) struct Norm {
    config: NormConfig,
    weight: Parameter,
    bias: Option<Parameter>,
}

impl Norm {
    /// The norm whose tensors `[features]` are called `<name>.weight` and, if it has one, `<name>.bias`.
    pub(crate) fn new(name: &str, features: i64, config: NormConfig, weights: &mut dyn Weights) -> Self {
        let mut parameter = |leaf: &str, init| {
            let name = format!("{name}.{leaf}");
            let value = weights.tensor(&name, &[features], init);
            Parameter::new(name, &value)
        };
        let one = if config.kind == NormKind::RmsPlusOne { Init::Zeros } else { Init::Ones };
        let weight = parameter("weight", one);
        let bias = (config.kind == NormKind::Layer).then(|| parameter("bias", Init::Zeros));
        Self { config, weight, bias }
    }

    /// `x [.., features]`, same shape out.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let NormConfig { kind, eps } = self.config;
        let weight = self.weight.value();
        let scaled = |weight: &Tensor| RmsNormalize { eps }.apply1(&[x, weight]).expect("a fresh tensor");
        match kind {
            NormKind::Rms => scaled(&weight.to_kind(x.kind())),
            NormKind::RmsPlusOne => scaled(&(weight.to_kind(wide(x.kind())) + 1.0)),
            NormKind::Layer => {
                let weight = weight.to_kind(x.kind());
                let bias = self.bias.as_ref().map(|bias| bias.value().to_kind(x.kind()));
                x.layer_norm(weight.size(), Some(&weight), bias.as_ref(), eps, false)
            }
        }
    }

    /// On the host, if it is [`NormKind::Rms`].
    pub(crate) fn plain(&self) -> Option<PlainNorm> {
        let weight = || Vec::try_from(self.weight.value().to_kind(Kind::Float)).expect("one axis");
        (self.config.kind == NormKind::Rms)
            .then(|| PlainNorm { weight: weight(), eps: self.config.eps as f32 })
    }

    pub(crate) fn parts(&mut self) -> impl Iterator<Item = Part<'_>> {
        std::iter::once(&mut self.weight).chain(self.bias.as_mut()).map(Part::Parameter)
    }
}

/// [`NormKind::Rms`] on slices.
#[derive(Clone, Debug)]
pub(crate) struct PlainNorm {
    weight: Vec<f32>,
    eps: f32,
}

impl PlainNorm {
    /// Of every row of `x [B, features]`, into `y`.
    pub(crate) fn forward(&self, x: &[f32], y: &mut [f32]) {
        let features = self.weight.len();
        for (x, y) in x.chunks_exact(features).zip(y.chunks_exact_mut(features)) {
            // Eight sums, which do not wait for each other.
            let (eights, rest) = x.as_chunks::<8>();
            let sums = eights.iter().fold(f32x8::ZERO, |sum, x| f32x8::from(*x) * f32x8::from(*x) + sum);
            let squares = sums.reduce_add() + rest.iter().map(|x| x * x).sum::<f32>();
            let rstd = 1.0 / (squares / features as f32 + self.eps).sqrt();
            for ((y, x), weight) in y.iter_mut().zip(x).zip(&self.weight) {
                *y = x * rstd * weight;
            }
        }
    }
}

/// Inputs `x [.., n]`, `w [n]`, either of the kind of x or wider; the product is rounded after a multiplication with
/// a wide one. Keeps `x` and `r = 1/√(mean(x²) + ε)`, one number a row:
///
/// `dx = r·(dy∘w) − x·r³/n·⟨dy∘w, x⟩`, `dw = Σ dy∘(r·x)`.
struct RmsNormalize {
    eps: f64,
}

struct Saved {
    x: SavedTensor,
    weight: SavedTensor,
    rstd: Tensor,
}

/// The kind in which statistics are computed.
fn wide(kind: Kind) -> Kind {
    if kind == Kind::Double { Kind::Double } else { Kind::Float }
}

impl Function for RmsNormalize {
    type Saved = Saved;

    fn forward(&self, inputs: &[&Tensor], _: Needs<'_>) -> (Vec<Tensor>, Saved) {
        let [input, weight] = inputs else { unreachable!("called with x, w") };
        let x = rows::flat(input);
        let (kind, wide) = (x.kind(), wide(x.kind()));
        let y = x.empty_like();
        let count = x.size()[0];
        let rstd = Tensor::empty([count, 1], (wide, x.device()));
        for (start, length) in rows::blocks(count, 3 * rows::bytes(&x), x.device()) {
            let (x, y) = (x.narrow(0, start, length).to_kind(wide), y.narrow(0, start, length));
            // One pass for the length, where a mean of squares takes two.
            let mut rstd =
                x.norm_out(&rstd.narrow(0, start, length), 2.0, [-1i64].as_slice(), true).square_();
            rstd *= 1.0 / x.size()[1] as f64;
            rstd += self.eps;
            let rstd = rstd.rsqrt_();
            if kind == wide {
                let _ = x.mul_out(&y, &rstd).g_mul_(weight);
            } else if weight.kind() == wide {
                y.shallow_clone().copy_(&(x * rstd * *weight));
            } else {
                let _ = (x * rstd).to_kind(kind).mul_out(&y, weight);
            }
        }
        let saved = Saved { x: SavedTensor::new(&x), weight: SavedTensor::new(weight), rstd };
        (vec![y.view(input.size().as_slice())], saved)
    }

    fn backward(saved: &Saved, grads: &[Option<Tensor>], needs: Needs<'_>) -> Vec<Option<Tensor>> {
        let Some(grad) = &grads[0] else { return vec![None, None] };
        let (x, weight, dy) = (saved.x.unpack(), saved.weight.unpack(), rows::flat(grad));
        let (kind, wide) = (x.kind(), saved.rstd.kind());
        let features = x.size()[1] as f64;
        let weight_kind = weight.kind();
        let weight = weight.to_kind(wide);
        let dx = needs.then(0, || x.empty_like());
        let mut dw = needs.then(1, || weight.zeros_like());
        for (start, length) in rows::blocks(x.size()[0], 4 * rows::bytes(x), x.device()) {
            let block = |t: &Tensor| t.narrow(0, start, length).to_kind(wide);
            let (x, dy, rstd) = (block(x), block(&dy), block(&saved.rstd));
            if let Some(dw) = &mut dw {
                *dw += (&dy * (&x * &rstd)).sum_dim_intlist(0, false, None);
            }
            if let Some(dx) = &dx {
                let dx = dx.narrow(0, start, length);
                let g = dy * &weight;
                let dot = (&g * &x).sum_dim_intlist(-1, true, None);
                let coefficient = dot * rstd.pow_tensor_scalar(3) * (-1.0 / features);
                if kind == wide {
                    let _ = g.mul_out(&dx, &rstd).addcmul_(&x, &coefficient);
                } else {
                    dx.shallow_clone().copy_(&(g * rstd).addcmul_(&x, &coefficient));
                }
            }
        }
        let dx = dx.map(|dx| dx.view(grad.size().as_slice()));
        vec![dx, dw.map(|dw| dw.to_kind(weight_kind))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autograd::{Gradcheck, gradcheck};
    use tch::Device;

    const EPS: f64 = 1e-5;

    fn definition(x: &Tensor, weight: &Tensor) -> Tensor {
        let wide = x.to_kind(wide(x.kind()));
        let mean = wide.square().mean_dim([-1i64].as_slice(), true, None);
        (wide * (mean + EPS).rsqrt()).to_kind(x.kind()) * weight
    }

    fn ours(x: &Tensor, weight: &Tensor) -> Tensor {
        RmsNormalize { eps: EPS }.apply1(&[x, weight]).unwrap()
    }

    fn random(size: &[i64], kind: Kind) -> Tensor {
        Tensor::randn(size, (Kind::Double, Device::Cpu)).to_kind(kind).set_requires_grad(true)
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        tch::manual_seed(0);
        let inputs = [random(&[2, 3, 4], Kind::Double), random(&[4], Kind::Double)];
        gradcheck(Gradcheck::default(), &inputs, |i| vec![ours(&i[0], &i[1])]).unwrap();
    }

    #[test]
    fn agrees_with_the_definition_in_every_kind() {
        tch::manual_seed(0);
        // More rows than one block holds, so that blocks are put together rightly.
        let size = [3, 2000, 64];
        for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 2e-6), (Kind::BFloat16, 2e-2)] {
            let (x, weight) = (random(&size, kind), random(&size[2..], kind));
            let dy = x.detach().randn_like();
            let run = |f: &dyn Fn(&Tensor, &Tensor) -> Tensor| {
                let y = f(&x, &weight);
                let gradients = Tensor::run_backward(&[(&y * &dy).sum(None)], &[&x, &weight], false, false);
                [y.detach(), gradients[0].shallow_clone(), gradients[1].shallow_clone()]
            };
            for (index, (a, b)) in run(&ours).iter().zip(run(&definition)).enumerate() {
                let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
                let error = ((a - &b).abs().max() / b.abs().max()).double_value(&[]);
                assert!(error <= tolerance, "{kind:?} output {index}: {error}");
            }
        }
    }
}
