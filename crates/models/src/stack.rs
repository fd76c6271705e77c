//! A stack of blocks between embeddings and a norm: what decoders and encoders have in common.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use peft_core::{AdaptedLinear, Mode, Part, Result};
use tch::{Device, Kind, Tensor};

use crate::block::{Block, PlainBlock};
use crate::cache::KvCache;
use crate::config::StackConfig;
use crate::convolution::Convolution;
use crate::embedding::Embedding;
use crate::norm::{Norm, PlainNorm};
use crate::positions::Positions;
use crate::recompute::Recomputed;
use crate::sequence::Sequence;
use crate::weights::Weights;

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

/// Embedded tokens to hidden states.
#[derive(Debug)]
pub(crate) struct Stack {
    embedding: Embedding,
    blocks: Vec<SharedBlock>,
    convolution: Option<Convolution>,
    norm: Option<Norm>,
    /// From H to the width of the embedding.
    project_out: Option<AdaptedLinear>,
}

impl Stack {
    pub(crate) fn new(config: &StackConfig, weights: &mut dyn Weights, kind: Kind, device: Device) -> Self {
        let (hidden, width, names) = (config.hidden_size, config.embedding.size, config.names);
        let embedding = Embedding::new(config, weights, kind, device);
        let blocks =
            (0..config.layers).map(|layer| SharedBlock::new(Block::new(layer, config, weights))).collect();
        let norm = config.final_norm.then(|| Norm::new(names.norm, hidden, config.norm, weights));
        let convolution = config.convolution.map(|own| Convolution::new(config, own, weights));
        let project_out = (hidden != width)
            .then(|| weights.linear(names.projections[1], config.linear(width, hidden, false)));
        Self { embedding, blocks, convolution, norm, project_out }
    }

    pub(crate) fn positions(&self) -> &Positions {
        &self.embedding.positions
    }

    /// The output `y` of block `layer`, with what the convolution makes of its input `x`.
    fn beside(&self, layer: usize, x: &Tensor, y: Tensor, sequence: &Sequence) -> Tensor {
        match &self.convolution {
            Some(convolution) if layer == 0 => convolution.forward(x, &y, sequence),
            _ => y,
        }
    }

    /// What leaves the stack of the last block's output.
    fn end(&self, x: &Tensor, mode: Mode) -> Tensor {
        let normed = self.norm.as_ref().map_or_else(|| x.shallow_clone(), |norm| norm.forward(x));
        match &self.project_out {
            Some(projection) => projection.forward(&normed, mode),
            None => normed,
        }
    }

    /// `embedded [B, T, E]` to hidden states of the same shape.
    pub(crate) fn forward(
        &self,
        embedded: &Tensor,
        sequence: &Sequence,
        mode: Mode,
        activations: Activations<'_>,
    ) -> Result<Tensor> {
        let mut x = self.embedding.forward(embedded, sequence, mode);
        for (layer, block) in self.blocks.iter().enumerate() {
            let y = match activations {
                Activations::Keep => block.lock().forward(&x, sequence, None, mode),
                Activations::Recompute { trainable } => {
                    Recomputed { block, sequence, mode }.forward(&x, trainable)?
                }
            };
            x = self.beside(layer, &x, y, sequence);
        }
        Ok(self.end(&x, mode))
    }

    /// What the first block sees, the output of every block but the last, and [`Self::forward`].
    pub(crate) fn states(&self, embedded: &Tensor, sequence: &Sequence, mode: Mode) -> Vec<Tensor> {
        let mut states = vec![self.embedding.forward(embedded, sequence, mode)];
        for (layer, block) in self.blocks.iter().enumerate() {
            let x = &states[layer];
            let y = block.lock().forward(x, sequence, None, mode);
            states.push(self.beside(layer, x, y, sequence));
        }
        let last = states.pop().expect("the embedding at least");
        states.push(self.end(&last, mode));
        states
    }

    /// The weights of all blocks and the norm after them, if nothing else is in the stack but rotary positions.
    pub(crate) fn plain(&self, config: &StackConfig) -> Option<(Vec<PlainBlock>, PlainNorm)> {
        if !self.embedding.is_plain() || self.convolution.is_some() || self.project_out.is_some() {
            return None;
        }
        let blocks: Option<_> =
            self.blocks.iter().map(|block| block.lock().plain(&config.attention)).collect();
        Some((blocks?, self.norm.as_ref()?.plain()?))
    }

    /// The hidden state `[B, E]` of the last of the tokens `embedded [B, T, E]`, which follow those in `cache`.
    pub(crate) fn advance(&self, embedded: &Tensor, sequence: &Sequence, cache: &mut KvCache) -> Tensor {
        let mut x = self.embedding.forward(embedded, sequence, Mode::Eval);
        for (block, cache) in self.blocks.iter().zip(cache.layers()) {
            x = block.lock().forward(&x, sequence, Some(cache), Mode::Eval);
        }
        let last = x.narrow(1, x.size()[1] - 1, 1).squeeze_dim(1);
        self.end(&last, Mode::Eval)
    }

    /// # Panics
    /// If a graph of [`Activations::Recompute`] is alive, which would compute with another model then.
    pub(crate) fn parts(&mut self) -> Vec<Part<'_>> {
        let Self { embedding, blocks, convolution, norm, project_out } = self;
        let blocks = blocks.iter_mut().flat_map(|block| block.exclusive().parts());
        let rest = convolution.iter_mut().flat_map(Convolution::parts);
        let norm = norm.iter_mut().flat_map(Norm::parts);
        let out = project_out.iter_mut().map(Part::Linear);
        embedding.parts().into_iter().chain(blocks).chain(rest).chain(norm).chain(out).collect()
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
