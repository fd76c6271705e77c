//! From items to tokens and labels.

use crate::config::{Bos, Eos, Loss, TaskConfig, Truncation};
use crate::item::Item;
use crate::vocabulary::TextTokenizer;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// A label that does not count for the loss.
pub const IGNORED: i64 = -100;

/// A sequence to train on: `labels[i]` is `tokens[i]` where that token counts, else [`IGNORED`]. The label of the
/// first token never counts, as nothing comes before it: the loss compares the logits at `i` with `labels[i + 1]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// A label for each.
    pub labels: Vec<i64>,
}

impl Sequence {
    /// Tokens that count for the loss.
    pub fn scored(&self) -> usize {
        self.labels.iter().filter(|label| **label != IGNORED).count()
    }
}

/// What the truncation rule did to a split. Goes into the record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truncated {
    /// Sequences that lost tokens and stayed.
    pub cut: usize,
    /// Items left out, because the rule is `drop` or because no token that counts was left.
    pub dropped: usize,
    /// Tokens of the longest sequence before truncation.
    pub longest: usize,
}

/// Sequences of a split, in the order of the items that stayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The sequences.
    pub sequences: Vec<Sequence>,
    /// The index of the item of each.
    pub items: Vec<usize>,
    /// What was cut.
    pub truncated: Truncated,
}

/// Prompts of a split, one for each item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPrompts {
    /// Token ids.
    pub prompts: Vec<Vec<u32>>,
    /// What was cut.
    pub truncated: Truncated,
}

/// Encodes items by the rules of a task file.
///
/// Prompt and response are tokenized apart and joined. So the prompt a model is asked with is, token for token,
/// the beginning of the sequence it was trained on, and no token spans the border of the loss mask. A tokenizer
/// that joins across that border when it sees the whole text gives other tokens there; a response template that
/// begins with a space (or a prompt that ends with a line) keeps the two alike for the usual vocabularies.
#[derive(Debug)]
pub struct Encoder<'a> {
    tokenizer: &'a TextTokenizer,
    loss: Loss,
    bos: Option<u32>,
    eos: Option<u32>,
    max_length: usize,
    truncation: Truncation,
}

impl<'a> Encoder<'a> {
    /// An encoder for a task.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the task asks for a special token the tokenizer lacks.
    pub fn new(config: &TaskConfig, tokenizer: &'a TextTokenizer) -> Result<Self> {
        let lacks =
            |name: &str| Error::Tokenizer { reason: format!("task `{}` needs a {name} token", config.name) };
        let bos = match config.prompt.bos {
            Bos::Prepend => Some(tokenizer.bos().ok_or_else(|| lacks("beginning-of-sequence"))?),
            Bos::None => None,
        };
        let eos = match config.prompt.eos {
            Eos::Append => Some(tokenizer.eos().ok_or_else(|| lacks("end-of-sequence"))?),
            Eos::None => None,
        };
        let (max_length, truncation) = (config.training.max_length, config.training.truncation);
        Ok(Self { tokenizer, loss: config.prompt.loss, bos, eos, max_length, truncation })
    }

    /// Sequences to train on: `bos prompt response eos`.
    ///
    /// # Errors
    /// [`Error::TooLong`] under `truncation = "error"`; [`Error::Tokenizer`].
    pub fn sequences(&self, items: &[Item]) -> Result<Encoded> {
        let mut encoded =
            Encoded { sequences: Vec::new(), items: Vec::new(), truncated: Truncated::default() };
        for (index, item) in items.iter().enumerate() {
            let sequence = self.sequence(item)?;
            let length = sequence.tokens.len();
            let report = &mut encoded.truncated;
            report.longest = report.longest.max(length);
            let kept = if length <= self.max_length { Some(sequence) } else { self.cut(item, sequence)? };
            match kept.filter(|sequence| sequence.scored() > 0) {
                None => report.dropped += 1,
                Some(sequence) => {
                    report.cut += usize::from(sequence.tokens.len() < length);
                    encoded.sequences.push(sequence);
                    encoded.items.push(index);
                }
            }
        }
        Ok(encoded)
    }

    /// Prompts to answer: `bos prompt`, with room for `max_new_tokens` in a context of `context` tokens. Every item
    /// stays, whatever the rule: an answer to a cut prompt counts like any other.
    ///
    /// # Errors
    /// [`Error::TooLong`] under `truncation = "error"`; [`Error::Tokenizer`].
    pub fn prompts(&self, items: &[Item], max_new_tokens: usize, context: usize) -> Result<EncodedPrompts> {
        let room = context.saturating_sub(max_new_tokens).max(1);
        let mut encoded = EncodedPrompts { prompts: Vec::new(), truncated: Truncated::default() };
        for item in items {
            let mut prompt: Vec<_> =
                self.bos.into_iter().chain(self.tokenizer.encode(&item.prompt)?).collect();
            let length = prompt.len();
            encoded.truncated.longest = encoded.truncated.longest.max(length);
            if length > room {
                encoded.truncated.cut += 1;
                match self.truncation {
                    Truncation::Error => return Err(too_long(item, length, room)),
                    Truncation::KeepStart => prompt.truncate(room),
                    Truncation::KeepEnd | Truncation::Drop => drop(prompt.drain(..length - room)),
                }
            }
            encoded.prompts.push(prompt);
        }
        Ok(encoded)
    }

    fn sequence(&self, item: &Item) -> Result<Sequence> {
        let prompt: Vec<_> = self.bos.into_iter().chain(self.tokenizer.encode(&item.prompt)?).collect();
        let response = self.tokenizer.encode(&item.response)?;
        let masked = match self.loss {
            Loss::Response => prompt.len(),
            Loss::Full => 0,
        };
        let tokens: Vec<_> = prompt.into_iter().chain(response).chain(self.eos).collect();
        let mut labels: Vec<_> = tokens.iter().map(|token| i64::from(*token)).collect();
        labels[..masked.max(1).min(tokens.len())].fill(IGNORED);
        Ok(Sequence { tokens, labels })
    }

    /// A sequence that is too long, by the rule; none where it is dropped.
    fn cut(&self, item: &Item, mut sequence: Sequence) -> Result<Option<Sequence>> {
        let length = sequence.tokens.len();
        match self.truncation {
            Truncation::Error => return Err(too_long(item, length, self.max_length)),
            Truncation::Drop => return Ok(None),
            Truncation::KeepStart => {
                sequence.tokens.truncate(self.max_length);
                sequence.labels.truncate(self.max_length);
            }
            Truncation::KeepEnd => {
                sequence.tokens.drain(..length - self.max_length);
                sequence.labels.drain(..length - self.max_length);
                sequence.labels[0] = IGNORED;
            }
        }
        Ok(Some(sequence))
    }
}

fn too_long(item: &Item, tokens: usize, room: usize) -> Error {
    Error::TooLong { item: item.id.clone(), tokens, room }
}
