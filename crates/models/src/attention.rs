//! Attention between the tokens of a row.

use autograd::Function;
use peft_core::{AdaptedLinear, Mode, Part};
use tch::{Kind, Tensor};

use crate::cache::LayerCache;
use crate::causal::CausalAttention;
use crate::config::StackConfig;
use crate::names::{AttentionNames, QkvNames};
use crate::norm::Norm;
use crate::positions::{Located, PositionConfig};
use crate::relative::Disentangled;
use crate::sequence::{Memory, Sequence, Visible};
use crate::shared_input::SharedInput;
use crate::weights::Weights;

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
    /// Whether each head of queries and keys is normalized (Qwen 3).
    pub head_norms: bool,
    /// Factor on the scores; 1/√d where `None`.
    pub scale: Option<f64>,
    /// c of `c·tanh(s/c)` on the scores s (Gemma 2).
    pub soft_cap: Option<f64>,
}

/// `W_o·softmax(s·q·kᵀ)·v`. Sources: Vaswani et al., arXiv 1706.03762; grouped queries: Ainslie et al.,
/// arXiv 2305.13245.
#[derive(Debug)]
pub(crate) struct Attention {
    qkv: Qkv,
    head_norms: Option<[Norm; 2]>,
    out: SharedInput<1>,
    head_dim: i64,
    relative: Option<Disentangled>,
    scores: Scores,
    windowed: bool,
}

/// Projections to queries, keys and values.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // one to a block
enum Qkv {
    Separate(SharedInput<3>),
    Fused(AdaptedLinear),
}

impl Attention {
    /// Self-attention of block `layer`, called `name`.
    pub(crate) fn new(name: &str, layer: usize, config: &StackConfig, weights: &mut dyn Weights) -> Self {
        let windowed = config.window.as_ref().is_some_and(|window| window.layers[layer]);
        let relative = match &config.positions {
            PositionConfig::Relative(relative) => {
                Some(Disentangled::new(name, config, relative.shared, weights))
            }
            _ => None,
        };
        let plain = Self::plain(name, &config.names.block.attention, config, weights);
        Self { relative, windowed, ..plain }
    }

    /// Attention that knows neither windows nor relative positions.
    pub(crate) fn plain(
        name: &str,
        names: &AttentionNames,
        config: &StackConfig,
        weights: &mut dyn Weights,
    ) -> Self {
        let own = &config.attention;
        let (hidden, query, key) =
            (config.hidden_size, own.heads * own.head_dim, own.kv_heads * own.head_dim);
        let mut linear = |leaf: &str, out_features, in_features, bias| {
            weights.linear(&format!("{name}.{leaf}"), config.linear(out_features, in_features, bias))
        };
        let qkv = match names.qkv {
            QkvNames::Separate([q, k, v]) => Qkv::Separate(SharedInput([
                linear(q, query, hidden, own.qkv_bias),
                linear(k, key, hidden, own.qkv_bias),
                linear(v, key, hidden, own.qkv_bias),
            ])),
            QkvNames::Fused(leaf) => Qkv::Fused(linear(leaf, query + 2 * key, hidden, own.qkv_bias)),
        };
        let out = SharedInput([linear(names.out, hidden, query, own.out_bias)]);
        let head_norms = own.head_norms.then(|| {
            let leaves = names.head_norms;
            leaves.map(|leaf| Norm::new(&format!("{name}.{leaf}"), own.head_dim, config.norm, weights))
        });
        Self {
            qkv,
            head_norms,
            out,
            head_dim: own.head_dim,
            relative: None,
            scores: Scores { scale: own.scale, soft_cap: own.soft_cap },
            windowed: false,
        }
    }

    /// `x [B, T, H]`, same shape out; with a cache, after the tokens in it, to which these are added.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        sequence: &Sequence,
        cache: Option<&mut LayerCache>,
        mode: Mode,
    ) -> Tensor {
        let [q, k, v] = self.project(x, mode);
        let (q, k) = match &self.head_norms {
            Some([query, key]) => (query.forward(&q), key.forward(&k)),
            None => (q, k),
        };
        let (q, k) = match &sequence.located {
            Located::Turned(rotation) => (rotation.apply(&q), rotation.apply(&k)),
            Located::Rows(_) | Located::Distances(_) => (q, k),
        };
        let [q, k, v] = [q, k, v].map(|t| t.transpose(1, 2)); // [B, heads, T, d]
        let visible = sequence.visible(self.windowed);
        let visible = &match (&self.relative, &self.qkv, &sequence.located) {
            (Some(own), Qkv::Separate(SharedInput([query, key, _])), Located::Distances(relative)) => {
                visible.plus(own.scores([&q, &k], [query, key], relative, mode))
            }
            _ => visible.clone(),
        };
        let mixed = match cache {
            None => self.scores.attend(&q, &k, &v, visible),
            Some(cache) => {
                let (k, v) = cache.extend(&k, &v);
                if q.size()[2] == 1 {
                    self.scores.attend_once(&q, &k, &v, visible)
                } else {
                    self.scores.attend(&q, &k, &v, visible)
                }
            }
        };
        self.leave(&mixed, mode)
    }

    /// `x [B, T, H]`, same shape out, from the tokens of `memory`; their keys and values stay in `cache`.
    pub(crate) fn cross(
        &self,
        x: &Tensor,
        memory: &Memory,
        cache: Option<&mut Option<(Tensor, Tensor)>>,
        mode: Mode,
    ) -> Tensor {
        let Qkv::Separate(SharedInput([query, key, value])) = &self.qkv else {
            unreachable!("one layer for queries, keys and values reads one sequence")
        };
        let heads = |t: Tensor| self.split_heads(&t).transpose(1, 2);
        let remember =
            || (heads(key.forward(&memory.states, mode)), heads(value.forward(&memory.states, mode)));
        let (k, v) = match cache {
            None => remember(),
            Some(cache) => {
                let (k, v) = cache.get_or_insert_with(remember);
                (k.shallow_clone(), v.shallow_clone())
            }
        };
        let q = heads(query.forward(x, mode));
        self.leave(&self.scores.attend(&q, &k, &v, &memory.visible), mode)
    }

    /// The output projection of `mixed [B, heads, T, d]`.
    fn leave(&self, mixed: &Tensor, mode: Mode) -> Tensor {
        let size = mixed.size();
        let [y] = self.out.forward(&mixed.transpose(1, 2).reshape([size[0], size[2], -1]), mode);
        y
    }

    /// Queries, keys and values, `[B, T, heads, d]` each.
    fn project(&self, x: &Tensor, mode: Mode) -> [Tensor; 3] {
        let all = match &self.qkv {
            Qkv::Separate(qkv) => qkv.forward(x, mode),
            Qkv::Fused(qkv) => {
                // Every family with one layer for all three has as many key heads as query heads.
                let [q, k, v]: [Tensor; 3] =
                    qkv.forward(x, mode).chunk(3, -1).try_into().expect("three parts");
                [q, k, v]
            }
        };
        all.map(|t| self.split_heads(&t))
    }

    /// `[B, T, heads·d] -> [B, T, heads, d]`.
    fn split_heads(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        x.view([size[0], size[1], -1, self.head_dim])
    }

    /// Queries, keys and values `[H, (heads + 2·kv_heads)·d]`, out `[heads·d, H]`, if it does nothing to them but turn them.
    pub(crate) fn weights(&self) -> Option<[Tensor; 2]> {
        match &self.qkv {
            Qkv::Separate(qkv)
                if self.head_norms.is_none() && self.relative.is_none() && self.scores.soft_cap.is_none() =>
            {
                Some([qkv.side_by_side()?, self.out.side_by_side()?])
            }
            _ => None,
        }
    }

    pub(crate) fn parts(&mut self) -> Vec<Part<'_>> {
        let mut parts: Vec<Part<'_>> = match &mut self.qkv {
            Qkv::Separate(qkv) => qkv.parts().collect(),
            Qkv::Fused(qkv) => vec![Part::Linear(qkv)],
        };
        parts.extend(self.relative.iter_mut().flat_map(Disentangled::parts));
        parts.extend(self.out.parts());
        parts.extend(self.head_norms.iter_mut().flatten().flat_map(Norm::parts));
        parts
    }
}

/// How scores are formed.
#[derive(Clone, Copy, Debug)]
struct Scores {
    /// 1/√d where `None`.
    scale: Option<f64>,
    soft_cap: Option<f64>,
}

impl Scores {
    /// `q [B, heads, T, d]`, `k`, `v [B, kv_heads, keys, d]` to `[B, heads, T, d]`.
    fn attend(self, q: &Tensor, k: &Tensor, v: &Tensor, visible: &Visible) -> Tensor {
        if let Some(cap) = self.soft_cap {
            let scale = self.scale.unwrap_or_else(|| (q.size()[3] as f64).powf(-0.5));
            return attend_capped(q, k, v, visible, scale, cap);
        }
        let (mask, causal) = match visible {
            Visible::All => (None, false),
            Visible::Causal if self.scale.is_none() && CausalAttention::serves(q) => {
                return CausalAttention.apply1(&[q, k, v]).expect("a fresh tensor");
            }
            Visible::Causal => (None, true),
            Visible::Masked(mask) => (Some(mask), false),
        };
        let grouped = q.size()[1] != k.size()[1];
        Tensor::scaled_dot_product_attention(q, k, v, mask, 0.0, causal, self.scale, grouped)
    }

    /// [`Self::attend`] for T = 1: the query heads of a group take the place of the tokens, so that no key is
    /// repeated.
    fn attend_once(self, q: &Tensor, k: &Tensor, v: &Tensor, visible: &Visible) -> Tensor {
        let (shape, kv_heads) = (q.size(), k.size()[1]);
        let group = q.view([shape[0], kv_heads, shape[1] / kv_heads, shape[3]]);
        self.attend(&group, k, v, visible).view(shape.as_slice())
    }
}

/// Attention whose scores are `c·tanh(s·q·kᵀ/c)`, which no kernel of libtorch computes; softmax in f32 at least.
fn attend_capped(q: &Tensor, k: &Tensor, v: &Tensor, visible: &Visible, scale: f64, cap: f64) -> Tensor {
    let size = q.size();
    let (tokens, kv_heads, keys) = (size[2], k.size()[1], k.size()[2]);
    let q = q.reshape([size[0], kv_heads, -1, tokens, size[3]]);
    let scores = q.matmul(&k.unsqueeze(2).transpose(3, 4)) * scale; // [B, kv_heads, group, T, keys]
    let scores = (scores / cap).tanh() * cap;
    let scores = match visible {
        Visible::All => scores,
        Visible::Causal => {
            let later = Tensor::ones([tokens, keys], (Kind::Bool, q.device())).triu(1);
            scores.masked_fill(&later, f64::NEG_INFINITY)
        }
        Visible::Masked(mask) => scores + mask.unsqueeze(2),
    };
    let wide = if q.kind() == Kind::Double { Kind::Double } else { Kind::Float };
    let p = scores.softmax(-1, wide).to_kind(q.kind());
    p.matmul(&v.unsqueeze(2)).view(size.as_slice())
}
