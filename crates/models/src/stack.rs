//! A stack of blocks between embeddings and a norm: what decoders and encoders have in common.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use peft_core::{AdaptedLinear, Mode, Part, Result};
use tch::{Device, Kind, Tensor};

use crate::block::Block;
use crate::cache::KvCache;
use crate::config::StackConfig;
use crate::norm::Norm;
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
    pub(crate) positions: Positions,
    /// From the width of the embedding to H.
    project_in: Option<AdaptedLinear>,
    blocks: Vec<SharedBlock>,
    norm: Option<Norm>,
    /// And back.
    project_out: Option<AdaptedLinear>,
}

impl Stack {
    pub(crate) fn new(config: &StackConfig, weights: &mut dyn Weights, kind: Kind, device: Device) -> Self {
        let (hidden, embedding) = (config.hidden_size, config.embedding_size);
        let positions = Positions::new(config, weights, kind, device);
        let blocks =
            (0..config.layers).map(|layer| SharedBlock::new(Block::new(layer, config, weights))).collect();
        let norm = config.final_norm.then(|| Norm::new(config.names.norm, hidden, config.norm, weights));
        let mut project = |name: &str, out_features, in_features| {
            let shape = config.linear(out_features, in_features, false);
            (hidden != embedding).then(|| weights.linear(name, shape))
        };
        let [name_in, name_out] = config.names.projections;
        let (project_in, project_out) =
            (project(name_in, hidden, embedding), project(name_out, embedding, hidden));
        Self { positions, project_in, blocks, norm, project_out }
    }

    /// What the first block sees of `embedded [B, T, E]`.
    fn begin(&self, embedded: &Tensor, sequence: &Sequence, mode: Mode) -> Tensor {
        let x = match &self.project_in {
            Some(projection) => projection.forward(embedded, mode),
            None => embedded.shallow_clone(),
        };
        self.positions.add(x, &sequence.located)
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
        let mut x = self.begin(embedded, sequence, mode);
        for block in &self.blocks {
            x = match activations {
                Activations::Keep => block.lock().forward(&x, sequence, None, mode),
                Activations::Recompute { trainable } => {
                    Recomputed { block, sequence, mode }.forward(&x, trainable)?
                }
            };
        }
        Ok(self.end(&x, mode))
    }

    /// What the first block sees, the output of every block but the last, and [`Self::forward`].
    pub(crate) fn states(&self, embedded: &Tensor, sequence: &Sequence, mode: Mode) -> Vec<Tensor> {
        let mut states = vec![self.begin(embedded, sequence, mode)];
        for block in &self.blocks {
            let x = block.lock().forward(&states[states.len() - 1], sequence, None, mode);
            states.push(x);
        }
        let last = states.pop().expect("the embedding at least");
        states.push(self.end(&last, mode));
        states
    }

    /// The hidden state `[B, E]` of the last of the tokens `embedded [B, T, E]`, which follow those in `cache`.
    pub(crate) fn advance(&self, embedded: &Tensor, sequence: &Sequence, cache: &mut KvCache) -> Tensor {
        let mut x = self.begin(embedded, sequence, Mode::Eval);
        for (block, cache) in self.blocks.iter().zip(cache.layers()) {
            x = block.lock().forward(&x, sequence, Some(cache), Mode::Eval);
        }
        let last = x.narrow(1, x.size()[1] - 1, 1).squeeze_dim(1);
        self.end(&last, Mode::Eval)
    }

    /// # Panics
    /// If a graph of [`Activations::Recompute`] is alive, which would compute with another model then.
    pub(crate) fn parts(&mut self) -> Vec<Part<'_>> {
        let Self { positions, project_in, blocks, norm, project_out } = self;
        let blocks = blocks.iter_mut().flat_map(|block| block.exclusive().parts());
        let projections = project_out.iter_mut().chain(project_in).map(Part::Linear);
        positions
            .parts()
            .into_iter()
            .chain(projections)
            .chain(blocks)
            .chain(norm.iter_mut().flat_map(Norm::parts))
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
