//! The whole decoder: embedding, blocks, norm, head.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use peft_core::{Adaptable, AdaptedLinear, Error, Mode, Parameter, Part, Result, Seeds, SiteShape};
use tch::{Device, Kind, Tensor};

use crate::block::Block;
use crate::cache::KvCache;
use crate::config::{DecoderConfig, ModelConfig};
use crate::norm::RmsNorm;
use crate::recompute::Recomputed;
use crate::rotary::Rotary;
use crate::sequence::Sequence;
use crate::weights::{Fresh, Init, LinearShape, Outline, Weights};

/// A decoder-only language model whose linear layers are slots.
#[derive(Debug)]
pub struct Decoder {
    config: ModelConfig,
    embedding: Parameter,
    blocks: Vec<SharedBlock>,
    norm: RmsNorm,
    head: Option<AdaptedLinear>,
    rotary: Rotary,
    kind: Kind,
    device: Device,
}

/// What a forward pass keeps for backward.
#[derive(Clone, Copy, Debug, Default)]
pub enum Activations<'a> {
    /// Whatever backward needs.
    #[default]
    Keep,
    /// Only the input of every block; the rest is computed again in backward (activation checkpointing). The
    /// numbers are the same, dropout included.
    Recompute {
        /// All tensors that require a gradient and take part in a block: of the adapter, and probes.
        trainable: &'a [Tensor],
    },
}

impl Decoder {
    /// A model with fresh weights: N(0, σ²) with the config's `initializer_range` σ for matrices, 1 for norms, 0 for
    /// biases; each tensor from the stream of its name.
    pub fn random(config: &ModelConfig, seeds: &Seeds, kind: Kind, device: Device) -> Self {
        let std = config.decoder().initializer_range;
        Self::new(config, &mut Fresh { std, seeds, kind, device }, kind, device)
    }

    /// A model without storage: names and shapes to count and to select targets from. It must not run.
    pub fn outline(config: &ModelConfig) -> Self {
        Self::new(config, &mut Outline, Kind::Float, Device::Cpu)
    }

    /// Builds the model of `config` from `weights`, for tensors of `kind` on `device`.
    pub(crate) fn new(config: &ModelConfig, weights: &mut dyn Weights, kind: Kind, device: Device) -> Self {
        let parts = config.decoder();
        let &DecoderConfig { vocab_size, hidden_size, .. } = parts;
        let embedding = embedding(parts, weights);
        let blocks = (0..parts.layers)
            .map(|i| SharedBlock::new(Block::new(&format!("model.layers.{i}"), parts, weights)))
            .collect();
        let norm = RmsNorm::new("model.norm", hidden_size, parts.norm_eps, weights);
        let head = (!parts.tied).then(|| {
            let shape = LinearShape { out_features: vocab_size, in_features: hidden_size, bias: false };
            weights.linear("lm_head", shape).head()
        });
        let rotary = Rotary::new(&parts.rotary, parts.attention.head_dim, parts.context, kind, device);
        Self { config: config.clone(), embedding, blocks, norm, head, rotary, kind, device }
    }

    /// What it was built from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Longest sequence, tokens.
    pub fn context(&self) -> i64 {
        self.config.decoder().context
    }

    /// Kind in which it computes.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Number of values in the base, a tied tensor counted once.
    pub fn count_parameters(&mut self) -> u64 {
        let count = |part: &Part<'_>| match part {
            Part::Parameter(parameter) => parameter.frozen().numel() as u64,
            Part::Linear(linear) => {
                let SiteShape { out_features, in_features } = linear.shape();
                let bias = linear.bias().map_or(0, |bias| bias.frozen().numel());
                (out_features * in_features) as u64 + bias as u64
            }
        };
        self.parts().iter().map(count).sum()
    }

    /// `ids [B, T]` (kind Int64) to `[B, T, H]`.
    ///
    /// # Errors
    /// If an id is outside the vocabulary (on a GPU libtorch aborts later instead).
    pub fn embed(&self, ids: &Tensor) -> Result<Tensor> {
        let table = self.embedding.value().to_kind(self.kind);
        Ok(Tensor::f_embedding(&table, &ids.to_device(self.device), -1, false, false)?)
    }

    /// `ids [B, T]`, `mask [B, T]` (1 at tokens, 0 at padding; `None` if there is no padding) to the hidden states
    /// `[B, T, H]` after the final norm.
    ///
    /// # Errors
    /// If shapes disagree, a row is longer than the context, or an id is outside the vocabulary.
    pub fn hidden(
        &self,
        ids: &Tensor,
        mask: Option<&Tensor>,
        mode: Mode,
        activations: Activations<'_>,
    ) -> Result<Tensor> {
        self.hidden_from(&self.embed(ids)?, mask, mode, activations)
    }

    /// [`Self::hidden`] from embeddings `[B, T, H]`.
    ///
    /// # Errors
    /// As there.
    pub fn hidden_from(
        &self,
        embedded: &Tensor,
        mask: Option<&Tensor>,
        mode: Mode,
        activations: Activations<'_>,
    ) -> Result<Tensor> {
        let sequence = self.sequence(embedded, mask)?;
        let mut x = embedded.shallow_clone();
        for block in &self.blocks {
            x = match activations {
                Activations::Keep => block.lock().forward(&x, &sequence, None, mode),
                Activations::Recompute { trainable } => {
                    Recomputed { block, sequence: &sequence, mode }.forward(&x, trainable)?
                }
            };
        }
        Ok(self.norm.forward(&x))
    }

    /// The embedding, then the output of every block but the last, then [`Self::hidden`]: what transformers calls
    /// `hidden_states`, `layers + 1` tensors `[B, T, H]`.
    ///
    /// # Errors
    /// As [`Self::hidden`].
    pub fn hidden_states(&self, ids: &Tensor, mask: Option<&Tensor>, mode: Mode) -> Result<Vec<Tensor>> {
        let mut states = vec![self.embed(ids)?];
        let sequence = self.sequence(&states[0], mask)?;
        for block in &self.blocks {
            let x = block.lock().forward(&states[states.len() - 1], &sequence, None, mode);
            states.push(x);
        }
        let last = states.pop().expect("the embedding at least");
        states.push(self.norm.forward(&last));
        Ok(states)
    }

    /// `hidden [.., H]` to `[.., vocab_size]`.
    pub fn logits(&self, hidden: &Tensor, mode: Mode) -> Tensor {
        match &self.head {
            Some(head) => head.forward(hidden, mode),
            None => hidden.linear(&self.embedding.value().to_kind(hidden.kind()), None::<&Tensor>),
        }
    }

    /// The weight `[vocab_size, H]` that [`Self::logits`] multiplies with, if it does nothing else.
    pub(crate) fn head_weight(&self) -> Option<Tensor> {
        match &self.head {
            Some(head) if head.bias().is_some() => None,
            Some(head) => head.plain_weight(),
            None => Some(self.embedding.value().shallow_clone()),
        }
    }

    /// The logits `[B, vocab_size]` after the last of `ids [B, T]`, which follow the tokens in `cache`.
    pub(crate) fn advance(&self, ids: &Tensor, cache: &mut KvCache) -> Result<Tensor> {
        let sequence = cache.sequence(ids.size()[1], &self.rotary, self.kind);
        let mut x = self.embed(ids)?;
        for (block, cache) in self.blocks.iter().zip(cache.layers()) {
            x = block.lock().forward(&x, &sequence, Some(cache), Mode::Eval);
        }
        let last = x.narrow(1, x.size()[1] - 1, 1).squeeze_dim(1);
        Ok(self.logits(&self.norm.forward(&last), Mode::Eval))
    }

    fn sequence(&self, embedded: &Tensor, mask: Option<&Tensor>) -> Result<Sequence> {
        let size = embedded.size();
        let [rows, length, _] = size[..] else {
            return Err(Error::config(
                "input",
                format!("{size:?}"),
                "expected tokens of shape [rows, length]",
            ));
        };
        let mask = mask.map(|mask| mask.to_device(self.device));
        Sequence::whole([rows, length], mask.as_ref(), &self.rotary, self.kind)
    }
}

/// A tied checkpoint may hold the shared tensor under the name of either end, or under both.
fn embedding(config: &DecoderConfig, weights: &mut dyn Weights) -> Parameter {
    const NAME: &str = "model.embed_tokens.weight";
    const HEAD: &str = "lm_head.weight";
    let shape = [config.vocab_size, config.hidden_size];
    let head = (config.tied && weights.holds(HEAD)).then(|| weights.tensor(HEAD, &shape, Init::Normal));
    let value = match head {
        Some(head) if !weights.holds(NAME) => head,
        head => {
            let value = weights.tensor(NAME, &shape, Init::Normal);
            if head.is_some_and(|head| head != value) {
                weights.refuse(HEAD, &format!("differs from `{NAME}`, but the config ties them"));
            }
            value
        }
    };
    Parameter::new(NAME, &value)
}

impl Adaptable for Decoder {
    /// # Panics
    /// If a graph of [`Activations::Recompute`] is alive, which would compute with another model then.
    fn parts(&mut self) -> Vec<Part<'_>> {
        let Self { embedding, blocks, norm, head, .. } = self;
        let blocks = blocks.iter_mut().flat_map(|block| block.exclusive().parts());
        std::iter::once(Part::Parameter(embedding))
            .chain(blocks)
            .chain(norm.parts())
            .chain(head.as_mut().map(Part::Linear))
            .collect()
    }
}

/// A block that backward can reach too, possibly on a thread of libtorch.
#[derive(Clone, Debug)]
pub(crate) struct SharedBlock(Arc<Mutex<Block>>);

impl SharedBlock {
    fn new(block: Block) -> Self {
        Self(Arc::new(Mutex::new(block)))
    }

    /// A pass never changes a block, so a panic in one leaves nothing half-done.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Block> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exclusive(&mut self) -> &mut Block {
        Arc::get_mut(&mut self.0)
            .expect("a model is changed only while no graph is alive that would run it again")
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
