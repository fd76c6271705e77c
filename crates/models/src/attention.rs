//! Grouped-query self-attention with rotary positions.

use autograd::Function;
use peft_core::{AdaptedLinear, Mode, Part};
use tch::Tensor;

use crate::cache::LayerCache;
use crate::causal::CausalAttention;
use crate::sequence::{Sequence, Visible};
use crate::shared_input::SharedInput;
use crate::weights::{LinearShape, Weights};

/// Settings of self-attention.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionConfig {
    /// Query heads.
    pub heads: i64,
    /// Key and value heads; each serves `heads / kv_heads` query heads.
    pub kv_heads: i64,
    /// Width of a head d.
    pub head_dim: i64,
    /// Whether query, key and value have biases.
    pub qkv_bias: bool,
    /// Whether the output projection has a bias.
    pub out_bias: bool,
}

/// `W_o·softmax(q·kᵀ/√d)·v`, causal. Sources: Vaswani et al., arXiv 1706.03762; grouped queries: Ainslie et al.,
/// arXiv 2305.13245.
#[derive(Debug)]
pub(crate) struct Attention {
    qkv: SharedInput<3>,
    out: AdaptedLinear,
    head_dim: i64,
}

impl Attention {
    pub(crate) fn new(
        name: &str,
        hidden_size: i64,
        config: &AttentionConfig,
        weights: &mut dyn Weights,
    ) -> Self {
        let mut linear = |leaf: &str, out_features, in_features, bias| {
            weights.linear(&format!("{name}.{leaf}"), LinearShape { out_features, in_features, bias })
        };
        let (query, key) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let qkv = SharedInput([
            linear("q_proj", query, hidden_size, config.qkv_bias),
            linear("k_proj", key, hidden_size, config.qkv_bias),
            linear("v_proj", key, hidden_size, config.qkv_bias),
        ]);
        let out = linear("o_proj", hidden_size, query, config.out_bias);
        Self { qkv, out, head_dim: config.head_dim }
    }

    /// `x [B, T, H]`, same shape out; with a cache, after the tokens in it, to which these are added.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        sequence: &Sequence,
        cache: Option<&mut LayerCache>,
        mode: Mode,
    ) -> Tensor {
        let [q, k, v] = self.qkv.forward(x, mode).map(|t| self.split_heads(&t));
        let q = sequence.rotation.apply(&q).transpose(1, 2);
        let k = sequence.rotation.apply(&k).transpose(1, 2);
        let v = v.transpose(1, 2);
        let mixed = match cache {
            None => attend(&q, &k, &v, &sequence.visible),
            Some(cache) => {
                let (k, v) = cache.extend(&k, &v);
                if q.size()[2] == 1 {
                    attend_once(&q, &k, &v, &sequence.visible)
                } else {
                    attend(&q, &k, &v, &sequence.visible)
                }
            }
        };
        let size = x.size();
        self.out.forward(&mixed.transpose(1, 2).reshape([size[0], size[1], -1]), mode)
    }

    /// `[B, T, heads·d] -> [B, T, heads, d]`.
    fn split_heads(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        x.view([size[0], size[1], -1, self.head_dim])
    }

    pub(crate) fn parts(&mut self) -> Vec<Part<'_>> {
        self.qkv.parts().chain([Part::Linear(&mut self.out)]).collect()
    }
}

/// `q [B, heads, T, d]`, `k`, `v [B, kv_heads, keys, d]` to `[B, heads, T, d]`.
fn attend(q: &Tensor, k: &Tensor, v: &Tensor, visible: &Visible) -> Tensor {
    let (mask, causal) = match visible {
        Visible::All => (None, false),
        Visible::Causal if CausalAttention::serves(q) => {
            return CausalAttention.apply1(&[q, k, v]).expect("a fresh tensor");
        }
        Visible::Causal => (None, true),
        Visible::Masked(mask) => (Some(mask), false),
    };
    let grouped = q.size()[1] != k.size()[1];
    Tensor::scaled_dot_product_attention(q, k, v, mask, 0.0, causal, None, grouped)
}

/// [`attend`] for T = 1: the query heads of a group take the place of the tokens, so that no key is repeated.
fn attend_once(q: &Tensor, k: &Tensor, v: &Tensor, visible: &Visible) -> Tensor {
    let (shape, kv_heads) = (q.size(), k.size()[1]);
    let group = q.view([shape[0], kv_heads, shape[1] / kv_heads, shape[3]]);
    attend(&group, k, v, visible).view(shape.as_slice())
}
