//! What a model is trained on in one pass: rows of tokens and what they should give.

use models::Rows;
use tasks::Labels;
use tch::Tensor;

/// Tokens of some rows.
#[derive(Debug)]
pub struct Tokens {
    /// Token ids `[B, T]`.
    pub ids: Tensor,
    /// 0 at padding, 1 at tokens `[B, T]`; where a row holds several sequences, their numbers.
    pub mask: Tensor,
    /// Which of two texts tokens belong to `[B, T]`, where the model tells them apart.
    pub types: Option<Tensor>,
}

/// A part of a step.
#[derive(Debug)]
pub struct Part {
    /// The rows.
    pub tokens: Tokens,
    /// What they should give: labels of tokens `[B, T]` (a model that goes on with its rows), classes or values `[B]`,
    /// first and last tokens `[B, 2]`, tokens of other texts `[B, U]`. -100 where nothing is scored.
    pub labels: Tensor,
    /// What the sum of the losses is divided by.
    pub divisor: f64,
}

impl Tokens {
    /// From a batch of a task.
    pub fn new(batch: &tasks::Batch) -> Self {
        let shape = [batch.rows as i64, batch.cols as i64];
        Self {
            ids: Tensor::from_slice(&batch.input_ids).view(shape),
            mask: Tensor::from_slice(&batch.attention_mask).view(shape),
            types: batch.types.as_ref().map(|types| Tensor::from_slice(types).view(shape)),
        }
    }

    /// As models take them.
    pub fn rows(&self) -> Rows<'_> {
        Rows { ids: &self.ids, mask: Some(&self.mask), types: self.types.as_ref() }
    }
}

impl Part {
    /// From a batch of a task.
    pub fn new(batch: &tasks::Batch, divisor: f64) -> Self {
        let rows = batch.rows as i64;
        let labels = match &batch.labels {
            Labels::Tokens(labels) => Tensor::from_slice(labels).view([rows, batch.cols as i64]),
            Labels::Classes(classes) => Tensor::from_slice(classes),
            Labels::Values(values) => Tensor::from_slice(values),
            Labels::Spans(ends) => Tensor::from_slice(ends).view([rows, 2]),
            Labels::Texts { cols, ids } => Tensor::from_slice(ids).view([rows, *cols as i64]),
        };
        Self { tokens: Tokens::new(batch), labels, divisor }
    }
}
