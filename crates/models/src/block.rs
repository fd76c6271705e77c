//! One layer of a decoder.

use peft_core::{Mode, Part};
use tch::Tensor;

use crate::attention::Attention;
use crate::cache::LayerCache;
use crate::config::DecoderConfig;
use crate::mlp::GatedMlp;
use crate::norm::RmsNorm;
use crate::sequence::Sequence;
use crate::weights::Weights;

/// `h = x + attention(norm(x))`, then `h + mlp(norm(h))`.
#[derive(Debug)]
pub(crate) struct Block {
    attention_norm: RmsNorm,
    attention: Attention,
    mlp_norm: RmsNorm,
    mlp: GatedMlp,
}

impl Block {
    pub(crate) fn new(name: &str, config: &DecoderConfig, weights: &mut dyn Weights) -> Self {
        let hidden = config.hidden_size;
        let attention = Attention::new(&format!("{name}.self_attn"), hidden, &config.attention, weights);
        let mlp = GatedMlp::new(&format!("{name}.mlp"), hidden, &config.mlp, weights);
        let mut norm = |leaf: &str| RmsNorm::new(&format!("{name}.{leaf}"), hidden, config.norm_eps, weights);
        Self {
            attention_norm: norm("input_layernorm"),
            attention,
            mlp_norm: norm("post_attention_layernorm"),
            mlp,
        }
    }

    /// `x [B, T, H]`, same shape out.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        sequence: &Sequence,
        cache: Option<&mut LayerCache>,
        mode: Mode,
    ) -> Tensor {
        let h = x + self.attention.forward(&self.attention_norm.forward(x), sequence, cache, mode);
        let moved = self.mlp.forward(&self.mlp_norm.forward(&h), mode);
        h + moved
    }

    pub(crate) fn parts(&mut self) -> Vec<Part<'_>> {
        let Self { attention_norm, attention, mlp_norm, mlp } = self;
        [attention.parts(), mlp.parts(), attention_norm.parts(), mlp_norm.parts()]
            .into_iter()
            .flatten()
            .collect()
    }
}
