//! Rectangles of tokens: padded batches, and the parts of a step.

use crate::encode::{IGNORED, Sequence, Target};

/// A batch to train on, row after row, padded on the right. A row is a sequence, or several that are read one after
/// the other without seeing each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Rows.
    pub rows: usize,
    /// Tokens of the longest.
    pub cols: usize,
    /// `[rows, cols]` token ids.
    pub input_ids: Vec<i64>,
    /// `[rows, cols]`: the number of the token's sequence in its row, from 1; 0 at padding.
    pub attention_mask: Vec<i64>,
    /// `[rows, cols]`, which of two texts a token belongs to; none where there is only one.
    pub types: Option<Vec<i64>>,
    /// What the rows are trained to give.
    pub labels: Labels,
}

/// What the rows of a batch are trained to give.
#[derive(Debug, Clone, PartialEq)]
pub enum Labels {
    /// `[rows, cols]` labels; [`IGNORED`] where a token does not count. Compare the logits at `i` with the label at
    /// `i + 1`; the first column is ignored throughout.
    Tokens(Vec<i64>),
    /// `[rows]` classes.
    Classes(Vec<i64>),
    /// `[rows]` values.
    Values(Vec<f64>),
    /// `[rows, 2]`: the first and the last token of a span.
    Spans(Vec<i64>),
    /// `[rows, cols]` tokens of other texts, [`IGNORED`] after the end of each. Compare the logits at `i` with the
    /// label at `i`.
    Texts {
        /// Tokens of the longest.
        cols: usize,
        /// The tokens.
        ids: Vec<i64>,
    },
}

/// All that one optimizer step sees, cut into parts that fit the memory.
///
/// The loss of the step is the sum of the token losses of all parts divided by [`Step::scored`], so its
/// value and its gradient do not depend on how it is cut.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The parts, in order.
    pub parts: Vec<Batch>,
    /// What counts for the loss: tokens, or rows where a row has one label.
    pub scored: usize,
    /// Tokens of all parts, padding apart.
    pub tokens: usize,
    /// Sequences of all parts.
    pub sequences: usize,
}

impl Batch {
    /// Pads sequences to a common length with the token `pad`.
    ///
    /// # Panics
    /// If their targets are of different kinds: a task has one.
    pub fn new(sequences: &[&Sequence], pad: u32) -> Self {
        let cols = sequences.iter().map(|sequence| sequence.tokens.len()).max().unwrap_or(0);
        let cells = sequences.len() * cols;
        let mut batch = Self {
            rows: sequences.len(),
            cols,
            input_ids: Vec::with_capacity(cells),
            attention_mask: Vec::with_capacity(cells),
            types: sequences.iter().any(|sequence| !sequence.types.is_empty()).then(Vec::new),
            labels: Labels::new(sequences, cols),
        };
        for (row, sequence) in (1..).zip(sequences) {
            batch.input_ids.extend(sequence.tokens.iter().map(|token| i64::from(*token)));
            batch.attention_mask.resize(batch.input_ids.len(), 1);
            batch.input_ids.resize(row * cols, i64::from(pad));
            batch.attention_mask.resize(row * cols, 0);
            if let Some(types) = &mut batch.types {
                types.extend(sequence.types.iter().map(|kind| i64::from(*kind)));
                types.resize(row * cols, 0);
            }
        }
        batch
    }

    /// The same with several sequences in a row, all of which learn the next token.
    fn packed(rows: &[Vec<&Sequence>], pad: u32) -> Self {
        let joined: Vec<Sequence> = rows.iter().map(|row| join(row)).collect();
        let mut batch = Self::new(&joined.iter().collect::<Vec<_>>(), pad);
        for (row, mask) in rows.iter().zip(batch.attention_mask.chunks_mut(batch.cols.max(1))) {
            let mut start = 0;
            for (number, sequence) in (1..).zip(row) {
                let end = start + sequence.tokens.len();
                mask[start..end].fill(number);
                start = end;
            }
        }
        batch
    }

    /// Tokens, padding apart.
    pub fn tokens(&self) -> usize {
        self.attention_mask.iter().filter(|number| **number > 0).count()
    }
}

impl Labels {
    fn new(sequences: &[&Sequence], cols: usize) -> Self {
        /// The targets of one kind.
        fn all<'a, T>(sequences: &[&'a Sequence], pick: impl Fn(&'a Target) -> Option<T>) -> Vec<T> {
            let pick = |sequence: &&'a Sequence| pick(&sequence.target);
            sequences.iter().map(|s| pick(s).expect("a task has targets of one kind")).collect()
        }
        match sequences.first().map(|sequence| &sequence.target) {
            None | Some(Target::Tokens(_)) => {
                let labels =
                    all(sequences, |t| if let Target::Tokens(labels) = t { Some(labels) } else { None });
                Self::Tokens(padded(&labels, cols))
            }
            Some(Target::Class(_)) => Self::Classes(all(sequences, |target| match target {
                Target::Class(class) => Some(*class as i64),
                _ => None,
            })),
            Some(Target::Value(_)) => Self::Values(all(sequences, |target| match target {
                Target::Value(value) => Some(*value),
                _ => None,
            })),
            Some(Target::Span { .. }) => Self::Spans(
                all(sequences, |target| match target {
                    Target::Span { first, last } => Some([*first as i64, *last as i64]),
                    _ => None,
                })
                .concat(),
            ),
            Some(Target::Text(_)) => {
                let texts =
                    all(sequences, |t| if let Target::Text(tokens) = t { Some(tokens) } else { None });
                let cols = texts.iter().map(|text| text.len()).max().unwrap_or(0);
                Self::Texts { cols, ids: padded(&texts, cols) }
            }
        }
    }
}

/// Several sequences as one. The first label of each never counts, so none is asked for by the one before.
fn join(row: &[&Sequence]) -> Sequence {
    let mut joined = Sequence { tokens: Vec::new(), types: Vec::new(), target: Target::Tokens(Vec::new()) };
    for sequence in row {
        let (Target::Tokens(labels), Target::Tokens(more)) = (&mut joined.target, &sequence.target) else {
            panic!("only sequences that learn the next token share a row");
        };
        labels.extend(more);
        joined.tokens.extend(&sequence.tokens);
    }
    joined
}

fn padded(rows: &[&Vec<i64>], cols: usize) -> Vec<i64> {
    let mut all = Vec::with_capacity(rows.len() * cols);
    for (row, labels) in (1..).zip(rows) {
        all.extend(*labels);
        all.resize(row * cols, IGNORED);
    }
    all
}

impl Step {
    /// Cuts the sequences of a step into parts of at most `micro_batch` rows, each padded for itself.
    pub fn new(sequences: &[&Sequence], micro_batch: usize, pad: u32) -> Self {
        Self::of(sequences.chunks(micro_batch.max(1)).map(|part| Batch::new(part, pad)), sequences)
    }

    /// The same with as many sequences in a row as `row_length` tokens hold: the longest first, each into the first row
    /// with room. Only for sequences that learn the next token.
    pub fn packed(sequences: &[&Sequence], row_length: usize, micro_batch: usize, pad: u32) -> Self {
        let mut longest_first = sequences.to_vec();
        longest_first.sort_by_key(|sequence| std::cmp::Reverse(sequence.tokens.len()));
        let mut rows: Vec<(usize, Vec<&Sequence>)> = Vec::new();
        for sequence in longest_first {
            let length = sequence.tokens.len();
            match rows.iter_mut().find(|(used, _)| used + length <= row_length) {
                Some((used, row)) => {
                    *used += length;
                    row.push(sequence);
                }
                None => rows.push((length, vec![sequence])),
            }
        }
        let rows: Vec<Vec<&Sequence>> = rows.into_iter().map(|(_, row)| row).collect();
        Self::of(rows.chunks(micro_batch.max(1)).map(|part| Batch::packed(part, pad)), sequences)
    }

    fn of(parts: impl Iterator<Item = Batch>, sequences: &[&Sequence]) -> Self {
        let parts: Vec<Batch> = parts.collect();
        Self {
            scored: sequences.iter().map(|sequence| sequence.scored()).sum(),
            tokens: parts.iter().map(Batch::tokens).sum(),
            sequences: sequences.len(),
            parts,
        }
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
        Sequence { tokens: tokens.to_vec(), types: Vec::new(), target: Target::Tokens(labels) }
    }

    #[test]
    fn training_pads_right() {
        let (a, b) = (sequence(&[1, 5, 6, 2], 2), sequence(&[1, 7, 2], 1));
        let batch = Batch::new(&[&a, &b], 0);
        assert_eq!((batch.rows, batch.cols), (2, 4));
        assert_eq!(batch.input_ids, [1, 5, 6, 2, 1, 7, 2, 0]);
        let labels = vec![IGNORED, IGNORED, 6, 2, IGNORED, 7, 2, IGNORED];
        assert_eq!(batch.labels, Labels::Tokens(labels));
        assert_eq!(batch.attention_mask, [1, 1, 1, 1, 1, 1, 1, 0]);
        assert_eq!((a.scored() + b.scored(), batch.tokens()), (4, 7));
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
                (step.scored, step.tokens, step.sequences),
                (whole.scored, whole.tokens, whole.sequences)
            );
        }
        assert_eq!(whole.parts.len(), 1);
    }

    #[test]
    fn packed_rows_hold_every_sequence_once() {
        let sequences: Vec<_> = [7, 2, 5, 3, 3].map(|n| sequence(&(1..=n).collect::<Vec<_>>(), 1)).into();
        let all: Vec<_> = sequences.iter().collect();
        let (plain, packed) = (Step::new(&all, 8, 0), Step::packed(&all, 10, 8, 0));
        assert_eq!(
            (packed.scored, packed.tokens, packed.sequences),
            (plain.scored, plain.tokens, plain.sequences)
        );
        let batch = &packed.parts[0];
        assert_eq!((batch.rows, batch.cols), (2, 10));
        assert_eq!(batch.attention_mask[..10], [1, 1, 1, 1, 1, 1, 1, 2, 2, 2]);
        assert_eq!(batch.input_ids[7..10], [1, 2, 3]);
        let Labels::Tokens(labels) = &batch.labels else { unreachable!() };
        assert_eq!(labels[6..10], [7, IGNORED, 2, 3]);
    }
}
