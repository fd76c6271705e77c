//! Rectangles of tokens: padded batches, and the parts of a step.

use crate::encode::{IGNORED, Sequence};

/// A batch to train on, row after row, padded on the right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Sequences.
    pub rows: usize,
    /// Tokens of the longest.
    pub cols: usize,
    /// `[rows, cols]` token ids.
    pub input_ids: Vec<i64>,
    /// `[rows, cols]`, true where there is a token and not padding.
    pub attention_mask: Vec<bool>,
    /// `[rows, cols]` labels; [`IGNORED`] where a token does not count. Compare the logits at `i` with the label at
    /// `i + 1`; the first column is ignored throughout.
    pub labels: Vec<i64>,
}

/// All that one optimizer step sees, cut into parts that fit the memory.
///
/// The loss of the step is the sum of the token losses of all parts divided by [`Step::scored_tokens`], so its
/// value and its gradient do not depend on how it is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The parts, in order.
    pub parts: Vec<Batch>,
    /// Tokens of all parts that count for the loss.
    pub scored_tokens: usize,
    /// Tokens of all parts, padding apart.
    pub tokens: usize,
    /// Sequences of all parts.
    pub sequences: usize,
}

/// Prompts to be answered together, row after row, padded on the left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptBatch {
    /// Prompts.
    pub rows: usize,
    /// Tokens of the longest.
    pub cols: usize,
    /// `[rows, cols]` token ids.
    pub input_ids: Vec<i64>,
    /// `[rows, cols]`, true where there is a token and not padding.
    pub attention_mask: Vec<bool>,
    /// The index of the prompt in each row.
    pub indices: Vec<usize>,
}

impl Batch {
    /// Pads sequences to a common length with the token `pad`.
    pub fn new(sequences: &[&Sequence], pad: u32) -> Self {
        let cols = sequences.iter().map(|sequence| sequence.tokens.len()).max().unwrap_or(0);
        let mut batch = Self {
            rows: sequences.len(),
            cols,
            input_ids: Vec::with_capacity(sequences.len() * cols),
            attention_mask: Vec::with_capacity(sequences.len() * cols),
            labels: Vec::with_capacity(sequences.len() * cols),
        };
        for (row, sequence) in (1..).zip(sequences) {
            batch.input_ids.extend(sequence.tokens.iter().map(|token| i64::from(*token)));
            batch.attention_mask.resize(batch.input_ids.len(), true);
            batch.labels.extend(&sequence.labels);
            batch.input_ids.resize(row * cols, i64::from(pad));
            batch.attention_mask.resize(row * cols, false);
            batch.labels.resize(row * cols, IGNORED);
        }
        batch
    }

    /// Tokens that count for the loss.
    pub fn scored_tokens(&self) -> usize {
        self.labels.iter().filter(|label| **label != IGNORED).count()
    }

    /// Tokens, padding apart.
    pub fn tokens(&self) -> usize {
        self.attention_mask.iter().filter(|present| **present).count()
    }
}

impl Step {
    /// Cuts the sequences of a step into parts of at most `micro_batch` rows, each padded for itself.
    pub fn new(sequences: &[&Sequence], micro_batch: usize, pad: u32) -> Self {
        let parts: Vec<_> = sequences.chunks(micro_batch.max(1)).map(|part| Batch::new(part, pad)).collect();
        Self {
            scored_tokens: parts.iter().map(Batch::scored_tokens).sum(),
            tokens: parts.iter().map(Batch::tokens).sum(),
            sequences: sequences.len(),
            parts,
        }
    }
}

impl PromptBatch {
    /// Cuts prompts into batches of at most `batch_size`, those of similar length together, the longest first.
    pub fn all(prompts: &[Vec<u32>], batch_size: usize, pad: u32) -> Vec<Self> {
        let mut indices: Vec<_> = (0..prompts.len()).collect();
        indices.sort_by_key(|index| std::cmp::Reverse(prompts[*index].len()));
        indices.chunks(batch_size.max(1)).map(|indices| Self::new(prompts, indices, pad)).collect()
    }

    fn new(prompts: &[Vec<u32>], indices: &[usize], pad: u32) -> Self {
        let cols = indices.iter().map(|index| prompts[*index].len()).max().unwrap_or(0);
        let mut batch = Self {
            rows: indices.len(),
            cols,
            input_ids: Vec::with_capacity(indices.len() * cols),
            attention_mask: Vec::with_capacity(indices.len() * cols),
            indices: indices.to_vec(),
        };
        for (row, index) in (1..).zip(indices) {
            let prompt = &prompts[*index];
            batch.input_ids.resize(row * cols - prompt.len(), i64::from(pad));
            batch.attention_mask.resize(row * cols - prompt.len(), false);
            batch.input_ids.extend(prompt.iter().map(|token| i64::from(*token)));
            batch.attention_mask.resize(row * cols, true);
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(tokens: &[u32], masked: usize) -> Sequence {
        let labels = tokens
            .iter()
            .enumerate()
            .map(|(i, t)| if i < masked { IGNORED } else { i64::from(*t) })
            .collect();
        Sequence { tokens: tokens.to_vec(), labels }
    }

    #[test]
    fn training_pads_right() {
        let (a, b) = (sequence(&[1, 5, 6, 2], 2), sequence(&[1, 7, 2], 1));
        let batch = Batch::new(&[&a, &b], 0);
        assert_eq!((batch.rows, batch.cols), (2, 4));
        assert_eq!(batch.input_ids, [1, 5, 6, 2, 1, 7, 2, 0]);
        assert_eq!(batch.labels, [IGNORED, IGNORED, 6, 2, IGNORED, 7, 2, IGNORED]);
        assert_eq!(batch.attention_mask, [true, true, true, true, true, true, true, false]);
        assert_eq!((batch.scored_tokens(), batch.tokens()), (4, 7));
    }

    #[test]
    fn a_step_counts_the_same_however_it_is_cut() {
        let sequences: Vec<_> =
            (2..9).map(|n| sequence(&(0..n).collect::<Vec<_>>(), n as usize / 2)).collect();
        let all: Vec<_> = sequences.iter().collect();
        let whole = Step::new(&all, 100, 0);
        for micro in [1, 2, 3, 7] {
            let step = Step::new(&all, micro, 0);
            assert_eq!(step.parts.len(), all.len().div_ceil(micro));
            assert!(step.parts.iter().all(|part| part.rows <= micro));
            assert_eq!(
                (step.scored_tokens, step.tokens, step.sequences),
                (whole.scored_tokens, whole.tokens, whole.sequences)
            );
        }
        assert_eq!(whole.parts.len(), 1);
    }

    #[test]
    fn prompts_pad_left_and_know_their_place() {
        let prompts = vec![vec![1, 2], vec![3], vec![4, 5, 6]];
        let batches = PromptBatch::all(&prompts, 2, 9);
        assert_eq!(batches.len(), 2);
        assert_eq!(batches[0].indices, [2, 0]);
        assert_eq!(batches[0].input_ids, [4, 5, 6, 9, 1, 2]);
        assert_eq!(batches[0].attention_mask, [true, true, true, false, true, true]);
        assert_eq!((batches[1].input_ids.as_slice(), batches[1].indices.as_slice()), (&[3][..], &[1][..]));
    }
}
