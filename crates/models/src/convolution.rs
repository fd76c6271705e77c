//! A convolution over the tokens of a row, beside the first block (DeBERTa v2).

use peft_core::{Parameter, Part};
use tch::Tensor;

use crate::activation::Activation;
use crate::config::StackConfig;
use crate::norm::Norm;
use crate::sequence::Sequence;
use crate::weights::{Init, Weights};

/// Settings of the convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvolutionConfig {
    /// Tokens seen.
    pub kernel: i64,
    /// Groups of channels.
    pub groups: i64,
    /// After it.
    pub activation: Activation,
}

/// `norm(y + φ(conv(x)))` with x the input and y the output of the first block; padding counts as 0.
#[derive(Debug)]
pub(crate) struct Convolution {
    config: ConvolutionConfig,
    weight: Parameter,
    bias: Parameter,
    norm: Norm,
}

impl Convolution {
    pub(crate) fn new(config: &StackConfig, own: ConvolutionConfig, weights: &mut dyn Weights) -> Self {
        let (hidden, [name, norm]) = (config.hidden_size, config.names.convolution);
        let mut parameter = |leaf: &str, shape: &[i64], init| {
            let name = format!("{name}.{leaf}");
            Parameter::new(&name, &weights.tensor(&name, shape, init))
        };
        let weight = parameter("weight", &[hidden, hidden / own.groups, own.kernel], Init::Normal);
        let bias = parameter("bias", &[hidden], Init::Zeros);
        Self { config: own, weight, bias, norm: Norm::new(norm, hidden, config.norm, weights) }
    }

    /// `x`, `y [B, T, H]`, same shape out.
    pub(crate) fn forward(&self, x: &Tensor, y: &Tensor, sequence: &Sequence) -> Tensor {
        let ConvolutionConfig { kernel, groups, activation } = self.config;
        let silent = |t: Tensor| match &sequence.absent {
            Some(absent) => t.masked_fill(&absent.unsqueeze(2), 0.0),
            None => t,
        };
        let (weight, bias) = (self.weight.value(), self.bias.value());
        let channels = silent(x.shallow_clone()).transpose(1, 2);
        let seen = channels.conv1d(&weight, Some(&bias), 1, (kernel - 1) / 2, 1, groups);
        self.norm.forward(&(y + activation.apply(&silent(seen.transpose(1, 2)))))
    }

    pub(crate) fn parts(&mut self) -> Vec<Part<'_>> {
        let own = [&mut self.weight, &mut self.bias].map(Part::Parameter);
        own.into_iter().chain(self.norm.parts()).collect()
    }
}
