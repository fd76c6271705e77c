//! A decoder as the loop sees it: next-token prediction.

use models::{Activations, Decoder};
use peft_core::{Adaptable, Mode, Part as ModelPart};
use tch::{Kind, Tensor};

use crate::Result;
use crate::train::Learner;

/// A decoder that is trained to predict tokens.
#[derive(Debug)]
pub struct CausalLm {
    /// The model.
    pub decoder: Decoder,
    recompute: Option<Vec<Tensor>>,
}

/// A part of a step.
#[derive(Debug)]
pub struct Part {
    /// Token ids `[B, T]`.
    pub ids: Tensor,
    /// 1 at tokens, 0 at padding, `[B, T]`.
    pub mask: Tensor,
    /// Labels `[B, T]`, -100 where nothing is scored; `labels[t + 1]` is scored at t.
    pub labels: Tensor,
    /// What the sum of token losses is divided by.
    pub divisor: f64,
}

impl CausalLm {
    /// Around `decoder`; `gradient_checkpointing` recomputes activations in backward.
    pub fn new(decoder: Decoder, gradient_checkpointing: bool) -> Self {
        Self { decoder, recompute: gradient_checkpointing.then(Vec::new) }
    }
}

impl Part {
    /// From rows of tokens.
    pub fn new(batch: &tasks::Batch, divisor: f64) -> Self {
        let shape = [batch.rows as i64, batch.cols as i64];
        let mask: Vec<u8> = batch.attention_mask.iter().map(|&present| u8::from(present)).collect();
        Self {
            ids: Tensor::from_slice(&batch.input_ids).view(shape),
            mask: Tensor::from_slice(&mask).to_kind(Kind::Int64).view(shape),
            labels: Tensor::from_slice(&batch.labels).view(shape),
            divisor,
        }
    }
}

impl Learner for CausalLm {
    type Part = Part;

    fn loss(&self, part: &Part, mode: Mode) -> Result<Tensor> {
        let activations = match &self.recompute {
            Some(trainable) => Activations::Recompute { trainable },
            None => Activations::Keep,
        };
        let hidden = self.decoder.hidden(&part.ids, Some(&part.mask), mode, activations)?;
        Ok(self.decoder.loss(&hidden, &part.labels, mode)?.sum / part.divisor)
    }

    fn trains(&mut self, tensors: Vec<Tensor>) {
        if let Some(trainable) = &mut self.recompute {
            *trainable = tensors;
        }
    }
}

impl Adaptable for CausalLm {
    fn parts(&mut self) -> Vec<ModelPart<'_>> {
        self.decoder.parts()
    }
}
