//! Where the tensors of a model come from while it is built.

use peft_core::nf4::Nf4Tensor;
use peft_core::{AdaptedLinear, Layout, Seeds, init};
use tch::{Device, Kind, Tensor};

/// How a tensor starts when there is no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Init {
    /// N(0, σ²) with the σ of the model's config.
    Normal,
    /// 1.
    Ones,
    /// 0.
    Zeros,
}

/// Shape of a linear layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinearShape {
    /// Rows of the weight.
    pub(crate) out_features: i64,
    /// Columns of the weight.
    pub(crate) in_features: i64,
    /// Whether there is a bias.
    pub(crate) bias: bool,
    /// How the weight is stored.
    pub(crate) layout: Layout,
}

/// A supply of tensors by name. A checkpoint notes what is missing or has another shape, and tells at the end.
pub(crate) trait Weights {
    /// The tensor called `name`, of `shape`.
    fn tensor(&mut self, name: &str, shape: &[i64], init: Init) -> Tensor;

    /// Whether this is a checkpoint with a tensor called `name`.
    fn holds(&self, _name: &str) -> bool {
        false
    }

    /// The weight called `name`, of `shape`, if this is a checkpoint that stores it in 4 bits.
    fn quantized(&mut self, _name: &str, _shape: [i64; 2]) -> Option<Nf4Tensor> {
        None
    }

    /// Notes that the tensor called `name` cannot be used.
    fn refuse(&mut self, name: &str, reason: &str) {
        panic!("only a checkpoint can hold a wrong tensor: `{name}`: {reason}")
    }
}

impl dyn Weights + '_ {
    /// The layer with `<name>.weight` and, where `shape` says so, `<name>.bias`.
    pub(crate) fn linear(&mut self, name: &str, shape: LinearShape) -> AdaptedLinear {
        let LinearShape { out_features, in_features, bias, layout } = shape;
        let name_of_weight = format!("{name}.weight");
        if let Some(stored) = self.quantized(&name_of_weight, [out_features, in_features]) {
            let bias = bias.then(|| self.tensor(&format!("{name}.bias"), &[out_features], Init::Zeros));
            return AdaptedLinear::stored(
                name,
                Box::new(stored),
                [out_features, in_features],
                bias.as_ref(),
                layout,
            );
        }
        let weight = match layout {
            Layout::OutIn => self.tensor(&name_of_weight, &[out_features, in_features], Init::Normal),
            Layout::InOut => self.tensor(&name_of_weight, &[in_features, out_features], Init::Normal).tr(),
        };
        let bias = bias.then(|| self.tensor(&format!("{name}.bias"), &[out_features], Init::Zeros));
        AdaptedLinear::new(name, &weight, bias.as_ref(), layout)
    }
}

/// Fresh tensors; each is drawn from the stream of its name.
#[derive(Debug)]
pub(crate) struct Fresh<'a> {
    /// σ of [`Init::Normal`].
    pub(crate) std: f64,
    /// Streams.
    pub(crate) seeds: &'a Seeds,
    /// Kind of the tensors.
    pub(crate) kind: Kind,
    /// Where they live.
    pub(crate) device: Device,
}

impl Weights for Fresh<'_> {
    fn tensor(&mut self, name: &str, shape: &[i64], init: Init) -> Tensor {
        let options = (self.kind, self.device);
        match init {
            Init::Normal => {
                let mut rng = self.seeds.child(name).rng();
                init::normal(shape, self.std as f32, &mut rng, self.device).to_kind(self.kind)
            }
            Init::Ones => Tensor::ones(shape, options),
            Init::Zeros => Tensor::zeros(shape, options),
        }
    }
}

/// Shapes without storage: a model to count and to select targets in, not to run.
#[derive(Debug)]
pub(crate) struct Outline;

impl Weights for Outline {
    fn tensor(&mut self, _name: &str, shape: &[i64], _init: Init) -> Tensor {
        Tensor::zeros([1], (Kind::Float, Device::Cpu)).expand(shape, false)
    }
}
