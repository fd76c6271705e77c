//! Heads that read a whole row: classes, scores.

use peft_core::{AdaptedLinear, Layout, Mode, Part};
use tch::{Kind, Tensor};

use crate::activation::Activation;
use crate::weights::{LinearShape, Weights};

/// Settings of the head of a family.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadConfig {
    /// Which hidden state it reads.
    pub(crate) reads: Reads,
    /// Its last layer.
    pub(crate) out: &'static str,
}

/// The hidden state that stands for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// That of the first token, through a dense layer.
    First(Dense),
    /// That of the last token which is no padding.
    Last,
}

/// A dense layer and the activation after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dense {
    pub(crate) name: &'static str,
    pub(crate) activation: Activation,
}

/// `[B, T, H]` to `[B, labels]`.
#[derive(Debug)]
pub(crate) struct Head {
    config: HeadConfig,
    dense: Option<AdaptedLinear>,
    out: AdaptedLinear,
}

impl Head {
    pub(crate) fn new(config: &HeadConfig, hidden: i64, labels: i64, weights: &mut dyn Weights) -> Self {
        let linear = |weights: &mut dyn Weights, name, out_features, bias| {
            let shape = LinearShape { out_features, in_features: hidden, bias, layout: Layout::OutIn };
            weights.linear(name, shape)
        };
        let (dense, bias) = match config.reads {
            Reads::First(dense) => (Some(linear(weights, dense.name, hidden, true)), true),
            Reads::Last => (None, false),
        };
        // What lies in one module with the output layer is part of the head, a pooler is not.
        let module = config.out.split('.').next().expect("a first component");
        let dense = dense.map(|dense| if dense.name().starts_with(module) { dense.head() } else { dense });
        let out = linear(weights, config.out, labels, bias).head();
        Self { config: config.clone(), dense, out }
    }

    /// `hidden [B, T, H]`, `mask [B, T]` to `[B, labels]`.
    pub(crate) fn forward(&self, hidden: &Tensor, mask: Option<&Tensor>, mode: Mode) -> Tensor {
        let pooled = match (self.config.reads, &self.dense) {
            (Reads::First(config), Some(dense)) => {
                config.activation.apply(&dense.forward(&hidden.select(1, 0), mode))
            }
            _ => last(hidden, mask),
        };
        self.out.forward(&pooled, mode)
    }

    pub(crate) fn parts(&mut self) -> impl Iterator<Item = Part<'_>> {
        self.dense.iter_mut().chain(std::iter::once(&mut self.out)).map(Part::Linear)
    }
}

/// The hidden state `[B, H]` at the last 1 of each row of `mask [B, T]`.
fn last(hidden: &Tensor, mask: Option<&Tensor>) -> Tensor {
    let size = hidden.size();
    let Some(mask) = mask else { return hidden.select(1, size[1] - 1) };
    let places = Tensor::arange(size[1], (Kind::Int64, hidden.device()));
    let place = (mask.to_device(hidden.device()).to_kind(Kind::Int64) * places).amax([1], false);
    let index = place.view([-1, 1, 1]).expand([-1, 1, size[2]], false);
    hidden.gather(1, &index, false).squeeze_dim(1)
}
