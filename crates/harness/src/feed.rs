//! Sequences of a task as steps of the loop.

use tasks::{Batches, Encoded, Position, Reduction, Sequence, Step, Training};

use crate::config::RunOptions;
use crate::part::Part;
use crate::train::{Feed, StepData};
use crate::{Error, Result};

/// The training split of a task, in the order that a seed decides.
#[derive(Debug)]
pub struct TaskFeed<'a> {
    sequences: &'a [Sequence],
    batches: Batches,
    fresh: Batches,
    cut: Cut,
    reduction: Reduction,
    pad: u32,
}

/// How the sequences of a step are cut into parts; its loss does not depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Rows of a part.
    pub micro_batch: usize,
    /// Tokens of a row that holds several sequences; each has a row of its own where `None`.
    pub row_length: Option<usize>,
}

impl Cut {
    /// All sequences in one part, each in a row of its own.
    pub fn none(sequences: usize) -> Self {
        Self { micro_batch: sequences, row_length: None }
    }
}

impl<'a> TaskFeed<'a> {
    /// Steps of `training.batch_size` sequences, cut into parts as `options` say.
    pub fn new(
        encoded: &'a Encoded,
        training: &Training,
        reduction: Reduction,
        options: &RunOptions,
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
            cut: Cut {
                micro_batch: options.micro_batch.unwrap_or(training.batch_size),
                row_length: options.packing.then_some(training.max_length),
            },
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
        Ok(step_data(&sequences, self.cut, self.reduction, self.pad))
    }

    fn restart(&mut self) {
        self.batches = self.fresh.clone();
    }

    fn position(&self) -> Option<Position> {
        Some(self.batches.position())
    }

    fn seek(&mut self, position: Position) {
        self.batches.seek(position);
    }
}

/// The sequences of one step, cut into parts that share its divisor.
pub fn step_data(sequences: &[&Sequence], cut: Cut, reduction: Reduction, pad: u32) -> StepData<Part> {
    let step = match cut.row_length {
        Some(row_length) => Step::packed(sequences, row_length, cut.micro_batch, pad),
        None => Step::new(sequences, cut.micro_batch, pad),
    };
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
