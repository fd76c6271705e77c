//! A decoder-only language model: embedding, stack, head.

use peft_core::{Adaptable, AdaptedLinear, Layout, Mode, Parameter, Part, Result, Seeds};
use tch::{Device, Kind, Tensor};

use crate::body::Body;
use crate::cache::KvCache;
use crate::config::{DecoderConfig, ModelConfig};
use crate::stack::Activations;
use crate::weights::{Fresh, Init, LinearShape, Outline, Weights};

const HEAD: &str = "lm_head";

/// A decoder-only language model whose linear layers are slots.
#[derive(Debug)]
pub struct Decoder {
    config: ModelConfig,
    shape: DecoderConfig,
    pub(crate) body: Body,
    pub(crate) head: Option<AdaptedLinear>,
}

impl Decoder {
    /// A model with fresh weights: N(0, σ²) with the config's `initializer_range` σ for matrices, 1 for norms, 0 for
    /// biases; each tensor from the stream of its name.
    ///
    /// # Errors
    /// [`peft_core::Error::Unsupported`] if the config is not that of a decoder.
    pub fn random(config: &ModelConfig, seeds: &Seeds, kind: Kind, device: Device) -> Result<Self> {
        let std = config.decoder()?.stack.initializer_range;
        Self::new(config, &mut Fresh { std, seeds, kind, device }, kind, device)
    }

    /// A model without storage: names and shapes to count and to select targets from. It must not run.
    ///
    /// # Errors
    /// [`peft_core::Error::Unsupported`] if the config is not that of a decoder.
    pub fn outline(config: &ModelConfig) -> Result<Self> {
        Self::new(config, &mut Outline, Kind::Float, Device::Cpu)
    }

    /// Builds the model of `config` from `weights`, for tensors of `kind` on `device`.
    pub(crate) fn new(
        config: &ModelConfig,
        weights: &mut dyn Weights,
        kind: Kind,
        device: Device,
    ) -> Result<Self> {
        let shape = config.decoder()?.clone();
        let DecoderConfig { stack: parts, output } = &shape;
        let tokens = embedding(&shape, weights);
        let body = Body::with_tokens(tokens, parts, weights, kind, device);
        let head = (!output.tied).then(|| {
            let shape = LinearShape {
                out_features: parts.vocab_size,
                in_features: parts.embedding.size,
                bias: output.bias,
                layout: Layout::OutIn,
            };
            weights.linear(HEAD, shape).head()
        });
        Ok(Self { config: config.clone(), shape, body, head })
    }

    /// What it was built from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Its parts and their sizes.
    pub fn shape(&self) -> &DecoderConfig {
        &self.shape
    }

    /// Number of tokens that it knows.
    pub fn vocab_size(&self) -> i64 {
        self.shape.stack.vocab_size
    }

    pub(crate) fn set_vocab_size(&mut self, vocab_size: i64) {
        self.shape.stack.vocab_size = vocab_size;
        self.config.json_mut().insert("vocab_size".to_owned(), vocab_size.into());
    }

    /// Longest sequence, tokens.
    pub fn context(&self) -> i64 {
        self.shape.stack.context
    }

    /// Kind in which it computes.
    pub fn kind(&self) -> Kind {
        self.body.kind()
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        self.body.device()
    }

    /// `ids [B, T]` (kind Int64) to the embedding of tokens `[B, T, E]`, without positions.
    ///
    /// # Errors
    /// If an id is outside the vocabulary (on a GPU libtorch aborts later instead).
    pub fn embed(&self, ids: &Tensor) -> Result<Tensor> {
        self.body.embed(ids)
    }

    /// `ids [B, T]`, `mask [B, T]` (1 at tokens, 0 at padding; `None` if there is no padding) to the hidden states
    /// `[B, T, E]` that the head reads.
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

    /// [`Self::hidden`] from embeddings `[B, T, E]`.
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
        self.body.hidden(embedded, &self.body.sequence(embedded, mask)?, mode, activations)
    }

    /// The embedding with positions, then the output of every block but the last, then [`Self::hidden`]: what
    /// transformers calls `hidden_states`, `layers + 1` tensors `[B, T, H]`.
    ///
    /// # Errors
    /// As [`Self::hidden`].
    pub fn hidden_states(&self, ids: &Tensor, mask: Option<&Tensor>, mode: Mode) -> Result<Vec<Tensor>> {
        let embedded = self.embed(ids)?;
        Ok(self.body.states(&embedded, &self.body.sequence(&embedded, mask)?, mode))
    }

    /// `hidden [.., E]` to `[.., vocab_size]`.
    pub fn logits(&self, hidden: &Tensor, mode: Mode) -> Tensor {
        let logits = match &self.head {
            Some(head) => head.forward(hidden, mode),
            None => hidden.linear(&self.body.tokens.value().to_kind(hidden.kind()), None::<&Tensor>),
        };
        match self.shape.output.soft_cap {
            Some(cap) => (logits / cap).tanh() * cap,
            None => logits,
        }
    }

    /// The weight `[vocab_size, E]` that [`Self::logits`] multiplies with, if it does nothing else.
    pub(crate) fn head_weight(&self) -> Option<Tensor> {
        match &self.head {
            _ if self.shape.output.soft_cap.is_some() => None,
            Some(head) if head.bias().is_some() => None,
            Some(head) => head.plain_weight(),
            None => Some(self.body.tokens.value().shallow_clone()),
        }
    }

    /// The logits `[B, vocab_size]` after the last of `ids [B, T]`, which follow the tokens in `cache`.
    pub(crate) fn advance(&self, ids: &Tensor, cache: &mut KvCache) -> Result<Tensor> {
        Ok(self.logits(&self.body.advance(ids, cache)?, Mode::Eval))
    }
}

/// A tied checkpoint may hold the shared tensor under the name of either end, or under both.
fn embedding(config: &DecoderConfig, weights: &mut dyn Weights) -> Parameter {
    let name = format!("{}.weight", config.stack.names.tokens);
    let head = format!("{HEAD}.weight");
    let shape = [config.stack.vocab_size, config.stack.embedding.size];
    let as_head =
        (config.output.tied && weights.holds(&head)).then(|| weights.tensor(&head, &shape, Init::Normal));
    let value = match as_head {
        Some(value) if !weights.holds(&name) => value,
        other => {
            let value = weights.tensor(&name, &shape, Init::Normal);
            if other.is_some_and(|other| other != value) {
                weights.refuse(&head, &format!("differs from `{name}`, but the config ties them"));
            }
            value
        }
    };
    Parameter::new(name, &value)
}

impl Adaptable for Decoder {
    /// # Panics
    /// If a graph of [`Activations::Recompute`] is alive, which would compute with another model then.
    fn parts(&mut self) -> Vec<Part<'_>> {
        let Self { body, head, .. } = self;
        body.parts().into_iter().chain(head.as_mut().map(Part::Linear)).collect()
    }
}
