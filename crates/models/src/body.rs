//! A table of tokens and a stack: all of a model but its head.

use peft_core::{Error, Mode, Parameter, Part, Result};
use tch::{Device, Kind, Tensor};

use crate::cache::KvCache;
use crate::classifier::Rows;
use crate::config::StackConfig;
use crate::sequence::Sequence;
use crate::stack::{Activations, Stack};
use crate::weights::{Init, Weights};

/// Tokens to hidden states.
#[derive(Debug)]
pub(crate) struct Body {
    config: StackConfig,
    pub(crate) tokens: Parameter,
    stack: Stack,
    kind: Kind,
    device: Device,
}

impl Body {
    /// With the table of tokens among `weights`.
    pub(crate) fn new(config: &StackConfig, weights: &mut dyn Weights, kind: Kind, device: Device) -> Self {
        let name = format!("{}.weight", config.names.tokens);
        let table = weights.tensor(&name, &[config.vocab_size, config.embedding.size], Init::Normal);
        Self::with_tokens(Parameter::new(name, &table), config, weights, kind, device)
    }

    pub(crate) fn with_tokens(
        tokens: Parameter,
        config: &StackConfig,
        weights: &mut dyn Weights,
        kind: Kind,
        device: Device,
    ) -> Self {
        let stack = Stack::new(config, weights, kind, device);
        Self { config: config.clone(), tokens, stack, kind, device }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn device(&self) -> Device {
        self.device
    }

    /// `ids [B, T]` (kind Int64) to `[B, T, E]`, without positions.
    pub(crate) fn embed(&self, ids: &Tensor) -> Result<Tensor> {
        let table = self.tokens.value().to_kind(self.kind);
        let embedded = Tensor::f_embedding(&table, &ids.to_device(self.device), -1, false, false)?;
        let scale = self.config.embedding.scale;
        // The factor is rounded to the kind of the model, as in transformers.
        Ok(if scale == 1.0 { embedded } else { embedded * Tensor::from(scale).to_kind(self.kind) })
    }

    /// Positions and visibility for `embedded [B, T, E]` with `mask [B, T]`.
    pub(crate) fn sequence(&self, embedded: &Tensor, mask: Option<&Tensor>) -> Result<Sequence> {
        let size = embedded.size();
        let [rows, length, _] = size[..] else {
            return Err(Error::config(
                "input",
                format!("{size:?}"),
                "expected tokens of shape [rows, length]",
            ));
        };
        let mask = mask.map(|mask| mask.to_device(self.device));
        let options = (self.kind, self.device);
        Sequence::whole([rows, length], mask.as_ref(), &self.config, self.stack.positions(), options)
    }

    /// The embedding and the sequence of `rows`.
    ///
    /// # Errors
    /// If shapes disagree, a row is longer than the context, or an id is outside the vocabulary.
    pub(crate) fn begin(&self, rows: Rows<'_>) -> Result<(Tensor, Sequence)> {
        let embedded = self.embed(rows.ids)?;
        let mut sequence = self.sequence(&embedded, rows.mask)?;
        let known = self.config.embedding.token_types;
        if let Some(types) = rows.types.filter(|_| known > 0) {
            if types.size() != rows.ids.size() || types.max().int64_value(&[]) >= known {
                let reason = format!("expected {:?} types below {known}", rows.ids.size());
                return Err(Error::config("token_type_ids", format!("{:?}", types.size()), reason));
            }
            sequence.token_types = Some(types.to_device(self.device));
        }
        Ok((embedded, sequence))
    }

    /// `embedded [B, T, E]` to `[B, T, E]`.
    pub(crate) fn hidden(
        &self,
        embedded: &Tensor,
        sequence: &Sequence,
        mode: Mode,
        activations: Activations<'_>,
    ) -> Result<Tensor> {
        self.stack.forward(embedded, sequence, mode, activations)
    }

    /// What transformers calls `hidden_states`.
    pub(crate) fn states(&self, embedded: &Tensor, sequence: &Sequence, mode: Mode) -> Vec<Tensor> {
        self.stack.states(embedded, sequence, mode)
    }

    pub(crate) fn stack(&self) -> &Stack {
        &self.stack
    }

    /// The hidden state `[B, E]` after the last of `ids [B, T]`, which follow the tokens in `cache`.
    pub(crate) fn advance(&self, ids: &Tensor, cache: &mut KvCache) -> Result<Tensor> {
        let sequence = cache.sequence(ids.size()[1], &self.config, self.stack.positions());
        Ok(self.stack.advance(&self.embed(ids)?, &sequence, cache))
    }

    pub(crate) fn parts(&mut self) -> Vec<Part<'_>> {
        std::iter::once(Part::Parameter(&mut self.tokens)).chain(self.stack.parts()).collect()
    }
}
