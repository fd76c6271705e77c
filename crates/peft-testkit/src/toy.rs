use tch::{Device, Kind, Tensor};

use peft_core::{
    Adaptable, AdaptedLinear, Dense, FrozenWeight, Layout, Mode, Parameter, Part, Seeds, Storage, init,
};

/// Two residual layers with projections of different shapes, one with a bias, and a norm: the smallest model in which
/// site order, shapes, biases and non-linear parameters matter.
#[derive(Debug)]
pub struct Toy {
    layers: Vec<ToyLayer>,
    norm: Parameter,
    kind: Kind,
}

#[derive(Debug)]
struct ToyLayer {
    query: AdaptedLinear,
    up: AdaptedLinear,
    down: AdaptedLinear,
}

/// Widths, all different and divisible by 4.
const HIDDEN: i64 = 16;
const QUERY: i64 = 16;
const INNER: i64 = 24;

impl Toy {
    /// The same weights at every call, rounded to `kind`.
    pub fn new(kind: Kind) -> Self {
        let seeds = Seeds::new(11);
        let draw = |name: &str, shape: &[i64]| {
            init::normal(shape, 0.3, &mut seeds.child(name).rng(), Device::Cpu).to_kind(kind)
        };
        let layers = (0..2)
            .map(|i| {
                let linear = |module: &str, projection: &str, out: i64, inp: i64, bias: bool| {
                    let name = format!("model.layers.{i}.{module}.{projection}");
                    let bias = bias.then(|| draw(&format!("{name}.bias"), &[out]));
                    AdaptedLinear::new(&name, &draw(&name, &[out, inp]), bias.as_ref(), Layout::OutIn)
                };
                ToyLayer {
                    query: linear("self_attn", "q_proj", QUERY, HIDDEN, true),
                    up: linear("mlp", "up_proj", INNER, HIDDEN, false),
                    down: linear("mlp", "down_proj", HIDDEN, INNER, false),
                }
            })
            .collect();
        let norm = Parameter::new("model.norm.weight", &Tensor::ones([HIDDEN], (kind, Device::Cpu)));
        Self { layers, norm, kind }
    }

    /// `x [.., 16] -> [.., 16]`.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let mut x = x.to_kind(self.kind);
        for layer in &self.layers {
            let q = layer.query.forward(&x, mode).tanh();
            x = &x + &q;
            let inner = layer.up.forward(&x, mode).silu();
            x = &x + layer.down.forward(&inner, mode);
        }
        x * self.norm.value().to_kind(self.kind)
    }

    /// A fixed input of `rows` rows, `[rows, 16]`.
    pub fn input(&self, rows: i64) -> Tensor {
        init::normal(&[rows, HIDDEN], 1.0, &mut Seeds::new(3).rng(), Device::Cpu).to_kind(self.kind)
    }

    /// Mean squared distance from a fixed, slightly different function of the input.
    pub fn loss(&self, rows: i64, mode: Mode) -> Tensor {
        let x = self.input(rows);
        let turn = init::normal(&[HIDDEN, HIDDEN], 0.3, &mut Seeds::new(4).rng(), Device::Cpu);
        let target = tch::no_grad(|| x.to_kind(Kind::Float).matmul(&turn));
        (self.forward(&x, mode).to_kind(Kind::Float) - target).square().mean(Kind::Float)
    }

    /// Detached copies of everything the base holds, by name.
    pub fn base_bits(&mut self) -> Vec<(String, Tensor)> {
        let copy = |t: &Tensor| t.detach().copy();
        let mut all = Vec::new();
        for part in self.parts() {
            match part {
                Part::Linear(linear) => {
                    all.push((linear.name().to_owned(), copy(&linear.frozen().dense())));
                    if let Some(bias) = linear.bias() {
                        all.push((bias.name().to_owned(), copy(bias.frozen())));
                    }
                }
                Part::Parameter(parameter) => {
                    all.push((parameter.name().to_owned(), copy(parameter.frozen())));
                }
            }
        }
        all
    }
}

impl Adaptable for Toy {
    fn parts(&mut self) -> Vec<Part<'_>> {
        let linears = self.layers.iter_mut().flat_map(|l| [&mut l.query, &mut l.up, &mut l.down]);
        linears.map(Part::Linear).chain([Part::Parameter(&mut self.norm)]).collect()
    }
}

/// Weights keep eight bits of their fraction, in the kind they had: the simplest storage that loses something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rounded;

impl Storage for Rounded {
    fn freeze(&self, weight: &Tensor) -> Box<dyn FrozenWeight> {
        Box::new(Dense::new(&weight.to_kind(Kind::BFloat16).to_kind(weight.kind())))
    }

    fn is_lossy(&self) -> bool {
        true
    }
}
