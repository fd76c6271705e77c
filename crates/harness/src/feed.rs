//! Sequences of a task as steps of the loop.

use tasks::{Batches, Encoded, Position, Reduction, Sequence, Step, Training};

use crate::part::Part;
use crate::train::{Feed, StepData};
use crate::{Error, Result};

/// The training split of a task, in the order that a seed decides.
#[derive(Debug)]
pub struct TaskFeed<'a> {
    sequences: &'a [Sequence],
    batches: Batches,
    fresh: Batches,
    micro_batch: usize,
    reduction: Reduction,
    pad: u32,
}

impl<'a> TaskFeed<'a> {
    /// Steps of `training.batch_size` sequences, cut into parts of `micro_batch`.
    pub fn new(
        encoded: &'a Encoded,
        training: &Training,
        reduction: Reduction,
        micro_batch: Option<usize>,
        pad: u32,
        seed: u64,
    ) -> Self {
        let lengths = encoded.sequences.iter().map(|sequence| sequence.tokens.len()).collect();
        let (order, last) = (training.order, training.last_batch);
        let batches = Batches::new(lengths, training.batch_size, order, last, seed, Position::default());
        Self {
            sequences: &encoded.sequences,
            fresh: batches.clone(),
            batches,
            micro_batch: micro_batch.unwrap_or(training.batch_size),
            reduction,
            pad,
        }
    }

    /// Steps of one pass over the data.
    pub fn steps_per_epoch(&self) -> u64 {
        self.fresh.per_epoch() as u64
    }
}

impl Feed<Part> for TaskFeed<'_> {
    fn next_step(&mut self) -> Result<StepData<Part>> {
        let indices =
            self.batches.next().ok_or_else(|| Error::Usage("there is nothing to train on".to_owned()))?;
        let sequences: Vec<&Sequence> = indices.iter().map(|&index| &self.sequences[index]).collect();
        Ok(step_data(&sequences, self.micro_batch, self.reduction, self.pad))
    }

    fn restart(&mut self) {
        self.batches = self.fresh.clone();
    }
}

/// The sequences of one step, cut into parts that share its divisor.
pub fn step_data(
    sequences: &[&Sequence],
    micro_batch: usize,
    reduction: Reduction,
    pad: u32,
) -> StepData<Part> {
    let step = Step::new(sequences, micro_batch, pad);
    let divisor = match reduction {
        Reduction::TokenMean => step.scored,
        Reduction::SequenceSum => step.sequences,
    };
    StepData {
        parts: step.parts.iter().map(|part| Part::new(part, divisor as f64)).collect(),
        tokens: step.tokens as u64,
        samples: step.sequences as u64,
    }
}
