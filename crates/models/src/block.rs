//! One layer of a stack.

use peft_core::{Mode, Part};
use tch::Tensor;

use crate::attention::{Attention, AttentionConfig};
use crate::cache::LayerCache;
use crate::config::StackConfig;
use crate::mlp::Mlp;
use crate::norm::{Norm, PlainNorm};
use crate::sequence::Sequence;
use crate::weights::Weights;

/// How a block combines its halves f with norms n and what comes in, x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// `x + f(n(x))`, first with attention, then with the feed-forward part.
    PreNorm,
    /// `n(x + f(x))` for both.
    PostNorm,
    /// `x + n'(f(n(x)))` for both (Gemma 2).
    Sandwich,
    /// `x + attention(n(x)) + mlp(n(x))` (GPT-J).
    Parallel,
}

/// Attention and feed-forward part.
#[derive(Debug)]
pub(crate) struct Block {
    wiring: Wiring,
    attention: Attention,
    attention_norms: Vec<Norm>,
    /// To another sequence, with its norm.
    cross: Option<(Attention, [Norm; 1])>,
    mlp: Mlp,
    mlp_norms: Vec<Norm>,
}

/// Weights of a block, as a product with rows from the left reads them, `[in, out]`.
#[derive(Debug)]
pub(crate) struct PlainBlock {
    /// Before attention and before the feed-forward part.
    pub(crate) norms: [PlainNorm; 2],
    /// Queries, keys and values.
    pub(crate) qkv: Tensor,
    pub(crate) out: Tensor,
    pub(crate) gate_up: Tensor,
    pub(crate) down: Tensor,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    /// Factor on the scores.
    pub(crate) scale: f32,
}

impl PlainBlock {
    /// Another handle to the same weights.
    pub(crate) fn share(&self) -> Self {
        Self {
            norms: self.norms.clone(),
            qkv: self.qkv.shallow_clone(),
            out: self.out.shallow_clone(),
            gate_up: self.gate_up.shallow_clone(),
            down: self.down.shallow_clone(),
            ..*self
        }
    }
}

impl Block {
    /// The block number `layer` of a stack.
    pub(crate) fn new(layer: usize, config: &StackConfig, weights: &mut dyn Weights) -> Self {
        let name = format!("{}.{layer}", config.names.layers);
        let attention = Attention::new(&name, layer, config, weights);
        let norm = |leaf: &str, weights: &mut dyn Weights| {
            Norm::new(&format!("{name}.{leaf}"), config.hidden_size, config.norm, weights)
        };
        let names = &config.names.block;
        let cross = names
            .cross
            .as_ref()
            .map(|(own, leaf)| (Attention::plain(&name, own, config, weights), [norm(leaf, weights)]));
        let mlp = Mlp::new(&name, config, weights);
        let mut norms = |leaves: &[&str]| leaves.iter().map(|leaf| norm(leaf, weights)).collect();
        let (attention_norms, mlp_norms) = (norms(names.attention_norms), norms(names.mlp_norms));
        Self { wiring: config.wiring, attention, attention_norms, cross, mlp, mlp_norms }
    }

    /// `x [B, T, H]`, same shape out.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        sequence: &Sequence,
        mut cache: Option<&mut LayerCache>,
        mode: Mode,
    ) -> Tensor {
        let own = cache.as_deref_mut();
        let attention = |x: &Tensor| self.attention.forward(x, sequence, own, mode);
        if self.wiring == Wiring::Parallel {
            let normed = self.attention_norms[0].forward(x);
            return x + attention(&normed) + self.mlp.forward(&normed, mode);
        }
        let mut h = self.add(x, &self.attention_norms, attention);
        if let (Some((cross, norm)), Some(memory)) = (&self.cross, &sequence.memory) {
            let cache = cache.map(|cache| &mut cache.crossed);
            h = self.add(&h, norm, |h| cross.cross(h, memory, cache, mode));
        }
        self.add(&h, &self.mlp_norms, |h| self.mlp.forward(h, mode))
    }

    /// `x` with what one half makes of it.
    fn add(&self, x: &Tensor, norms: &[Norm], half: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
        match self.wiring {
            Wiring::PreNorm => x + half(&norms[0].forward(x)),
            Wiring::PostNorm => norms[0].forward(&(x + half(x))),
            Wiring::Sandwich => x + norms[1].forward(&half(&norms[0].forward(x))),
            Wiring::Parallel => unreachable!("both halves of a parallel block run at once"),
        }
    }

    /// Its weights, if it is one of Llama's and nothing in it trains.
    pub(crate) fn plain(&self, config: &AttentionConfig) -> Option<PlainBlock> {
        if self.wiring != Wiring::PreNorm || self.cross.is_some() {
            return None;
        }
        let [qkv, out] = self.attention.weights()?;
        let [gate_up, down] = self.mlp.weights()?;
        Some(PlainBlock {
            norms: [self.attention_norms[0].plain()?, self.mlp_norms[0].plain()?],
            qkv,
            out,
            gate_up,
            down,
            heads: config.heads as usize,
            kv_heads: config.kv_heads as usize,
            head_dim: config.head_dim as usize,
            scale: config.scale.unwrap_or_else(|| (config.head_dim as f64).powf(-0.5)) as f32,
        })
    }

    pub(crate) fn parts(&mut self) -> Vec<Part<'_>> {
        let Self { attention, attention_norms, cross, mlp, mlp_norms, .. } = self;
        let mut parts = attention.parts();
        if let Some((cross, norm)) = cross {
            parts.extend(cross.parts());
            parts.extend(norm.iter_mut().flat_map(Norm::parts));
        }
        parts.extend(mlp.parts());
        parts.extend(attention_norms.iter_mut().chain(mlp_norms).flat_map(Norm::parts));
        parts
    }
}
