//! The feed-forward part.

use autograd::{Function, Needs, SavedTensor};
use peft_core::{AdaptedLinear, Mode, Part};
use tch::{Device, Kind, Tensor};

use crate::activation::Activation;
use crate::config::StackConfig;
use crate::rows;
use crate::shared_input::SharedInput;
use crate::weights::Weights;

/// Settings of the feed-forward part.
#[derive(Clone, Debug, PartialEq)]
pub struct MlpConfig {
    /// Width between the projections.
    pub intermediate_size: i64,
    /// Whether the projections have biases.
    pub bias: bool,
    /// Between the projections.
    pub activation: Activation,
}

/// `W_down·a(x)`.
#[derive(Debug)]
pub(crate) struct Mlp {
    inner: Inner,
    activation: Activation,
    down: SharedInput<1>,
}

/// What `a` is, with the activation φ.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // one to a block
enum Inner {
    /// `φ(W_up·x)`.
    Plain(AdaptedLinear),
    /// `φ(W_gate·x) ∘ W_up·x`. Source: Shazeer, arXiv 2002.05202.
    Gated(SharedInput<2>),
}

impl Mlp {
    /// The part of the block called `name`.
    pub(crate) fn new(name: &str, config: &StackConfig, weights: &mut dyn Weights) -> Self {
        let MlpConfig { intermediate_size: inner, bias, activation } = config.mlp;
        let (hidden, names) = (config.hidden_size, &config.names.block);
        let mut linear = |leaf: &str, out_features, in_features| {
            let shape = config.linear(out_features, in_features, bias);
            weights.linear(&format!("{name}.{leaf}"), shape)
        };
        let part = match *names.up {
            [up] => Inner::Plain(linear(up, inner, hidden)),
            [gate, up] => Inner::Gated(SharedInput([linear(gate, inner, hidden), linear(up, inner, hidden)])),
            _ => unreachable!("a feed-forward part has an input layer, or two with a gate"),
        };
        let down = SharedInput([linear(names.down, hidden, inner)]);
        Self { inner: part, activation, down }
    }

    /// `x [B, T, H]`, same shape out.
    pub(crate) fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let inner = match &self.inner {
            Inner::Plain(up) => self.activation.apply(&up.forward(x, mode)),
            Inner::Gated(gate_up) => {
                let [gate, up] = gate_up.forward(x, mode);
                match self.activation {
                    Activation::Silu => SiluProduct.apply1(&[&gate, &up]).expect("a fresh tensor"),
                    other => other.apply(&gate) * up,
                }
            }
        };
        let [y] = self.down.forward(&inner, mode);
        y
    }

    /// Gate and up `[H, 2I]`, down `[I, H]`, if it is a gate with SiLU and nothing but these.
    pub(crate) fn weights(&self) -> Option<[Tensor; 2]> {
        match &self.inner {
            Inner::Gated(gate_up) if self.activation == Activation::Silu => {
                Some([gate_up.side_by_side()?, self.down.side_by_side()?])
            }
            _ => None,
        }
    }

    pub(crate) fn parts(&mut self) -> Vec<Part<'_>> {
        let mut parts: Vec<Part<'_>> = match &mut self.inner {
            Inner::Plain(up) => vec![Part::Linear(up)],
            Inner::Gated(gate_up) => gate_up.parts().collect(),
        };
        parts.extend(self.down.parts());
        parts
    }
}

/// `y = g∘σ(g)∘u`. Keeps g and u, nothing between them and y:
///
/// `dg = dy∘u∘(σ(g) + g∘σ′(g))` with `σ′ = σ∘(1 − σ)`, `du = dy∘g∘σ(g)`.
struct SiluProduct;

impl Function for SiluProduct {
    type Saved = (SavedTensor, SavedTensor);

    fn forward(&self, inputs: &[&Tensor], _: Needs<'_>) -> (Vec<Tensor>, Self::Saved) {
        let (gate, up) = (rows::flat(inputs[0]), rows::flat(inputs[1]));
        let y = gate.empty_like();
        for (start, length) in rows::blocks(gate.size()[0], 3 * rows::bytes(&gate), gate.device()) {
            let block = |t: &Tensor| t.narrow(0, start, length);
            let (gate, up, y) = (block(&gate), block(&up), block(&y));
            let _ = silu_out(&gate, &y).g_mul_(&up);
        }
        (vec![y.view(inputs[0].size().as_slice())], (SavedTensor::new(&gate), SavedTensor::new(&up)))
    }

    fn backward((gate, up): &Self::Saved, grads: &[Option<Tensor>], needs: Needs<'_>) -> Vec<Option<Tensor>> {
        let Some(grad) = &grads[0] else { return vec![None, None] };
        let (gate, up, dy) = (gate.unpack(), up.unpack(), rows::flat(grad));
        let (dgate, dup) = (needs.then(0, || gate.empty_like()), needs.then(1, || up.empty_like()));
        for (start, length) in rows::blocks(gate.size()[0], 7 * rows::bytes(gate), gate.device()) {
            let block = |t: &Tensor| t.narrow(0, start, length);
            let (gate, up, dy) = (block(gate), block(up), block(&dy));
            let sigmoid = sigmoid_out(&gate, &gate.empty_like());
            if let Some(dup) = &dup {
                let _ = gate.mul_out(&block(dup), &sigmoid).g_mul_(&dy);
            }
            if let Some(dgate) = &dgate {
                let dsilu = dy * up;
                let curved = Tensor::sigmoid_backward_grad_input(&block(dgate), &(&dsilu * gate), &sigmoid);
                let _ = curved.shallow_clone().addcmul_(&dsilu, &sigmoid);
            }
        }
        let shaped = |t: Option<Tensor>| t.map(|t| t.view(grad.size().as_slice()));
        vec![shaped(dgate), shaped(dup)]
    }
}

/// x·σ(x) into `out`.
fn silu_out(x: &Tensor, out: &Tensor) -> Tensor {
    if vectorized(x) { x.div_out(out, &one_plus_exp_neg(x, out)) } else { x.silu_out(out) }
}

/// σ(x) into `out`.
fn sigmoid_out(x: &Tensor, out: &Tensor) -> Tensor {
    if vectorized(x) { one_plus_exp_neg(x, out).reciprocal_() } else { x.sigmoid_out(out) }
}

/// Whether libtorch takes the exponential from the vector library, while its own sigmoid is five times as slow.
fn vectorized(x: &Tensor) -> bool {
    x.device() == Device::Cpu && matches!(x.kind(), Kind::Float | Kind::Double)
}

/// 1 + exp(−x) into `out`.
fn one_plus_exp_neg(x: &Tensor, out: &Tensor) -> Tensor {
    let mut power = x.neg_out(out).exp_();
    power += 1.0;
    power
}

#[cfg(test)]
mod tests {
    use super::*;
    use autograd::{Gradcheck, gradcheck};

    fn random(size: &[i64], kind: Kind) -> Tensor {
        Tensor::randn(size, (Kind::Double, Device::Cpu)).to_kind(kind).set_requires_grad(true)
    }

    fn ours(gate: &Tensor, up: &Tensor) -> Tensor {
        SiluProduct.apply1(&[gate, up]).unwrap()
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        tch::manual_seed(0);
        let inputs = [random(&[2, 3, 4], Kind::Double), random(&[2, 3, 4], Kind::Double)];
        gradcheck(Gradcheck::default(), &inputs, |i| vec![ours(&i[0], &i[1])]).unwrap();
    }

    #[test]
    fn agrees_with_the_definition_in_every_kind() {
        tch::manual_seed(0);
        let size = [3, 2000, 64];
        for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 2e-6), (Kind::BFloat16, 2e-2)] {
            let (gate, up) = (random(&size, kind), random(&size, kind));
            let dy = gate.detach().randn_like();
            let run = |y: Tensor| {
                let gradients = Tensor::run_backward(&[(&y * &dy).sum(None)], &[&gate, &up], false, false);
                [y.detach(), gradients[0].shallow_clone(), gradients[1].shallow_clone()]
            };
            for (a, b) in run(ours(&gate, &up)).iter().zip(run(gate.silu() * &up)) {
                let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
                let error = ((a - &b).abs().max() / b.abs().max()).double_value(&[]);
                assert!(error <= tolerance, "{kind:?}: {error}");
            }
        }
    }

    /// exp(−x) overflows at both ends of the range; σ and its derivative do not.
    #[test]
    fn extreme_gates_stay_finite() {
        let gate =
            Tensor::from_slice(&[-1e4f32, -100.0, 0.0, 100.0, 1e4]).view([1, 5]).set_requires_grad(true);
        let up = gate.ones_like().set_requires_grad(true);
        let y = ours(&gate, &up);
        let expected: [f32; 5] = [0.0, 0.0, 0.0, 100.0, 1e4];
        assert_eq!(Vec::<f32>::try_from(y.detach().view(-1)).unwrap(), expected);
        let gradients = Tensor::run_backward(&[y.sum(None)], &[&gate, &up], false, false);
        assert_eq!(Vec::<f32>::try_from(gradients[0].view(-1)).unwrap(), [0.0, 0.0, 0.5, 1.0, 1.0]);
        assert_eq!(Vec::<f32>::try_from(gradients[1].view(-1)).unwrap(), expected);
    }
}
