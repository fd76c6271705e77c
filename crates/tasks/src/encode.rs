//! From items to tokens and labels.

mod rows;

pub use rows::{Row, RowEncoder, Rows};

use crate::config::{Bos, Eos, Loss, TaskConfig, Truncation};
use crate::item::Item;
use crate::vocabulary::TextTokenizer;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// A label that does not count for the loss.
pub const IGNORED: i64 = -100;

/// A sequence to train on.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// Which of two texts each token belongs to, 0 or 1; empty where there is one text.
    pub types: Vec<u32>,
    /// What is learned from it.
    pub target: Target,
}

/// What is learned from a sequence.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// The next token: `labels[i]` is `tokens[i]` where that token counts, else [`IGNORED`]. The label of the first
    /// token never counts, as nothing comes before it: the loss compares the logits at `i` with `labels[i + 1]`.
    Tokens(Vec<i64>),
    /// Its class.
    Class(usize),
    /// Its value.
    Value(f64),
    /// The first and the last token of a span.
    Span {
        /// Index of the first.
        first: usize,
        /// Index of the last.
        last: usize,
    },
    /// Another text.
    Text(Vec<i64>),
}

impl Sequence {
    /// What counts for the loss: tokens, or 1 where the sequence has one label.
    pub fn scored(&self) -> usize {
        match &self.target {
            Target::Tokens(labels) => labels.iter().filter(|label| **label != IGNORED).count(),
            Target::Class(_) | Target::Value(_) | Target::Span { .. } => 1,
            Target::Text(tokens) => tokens.len(),
        }
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
#[derive(Debug, Clone, Default, PartialEq)]
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
        let mut encoded = Encoded::default();
        for (index, item) in items.iter().enumerate() {
            let (tokens, labels) = self.whole(item)?;
            let length = tokens.len();
            encoded.truncated.longest = encoded.truncated.longest.max(length);
            let kept = if length <= self.max_length {
                Some((tokens, labels))
            } else {
                self.cut(item, tokens, labels)?
            };
            let sequence = kept.map(|(tokens, labels)| Sequence {
                tokens,
                types: Vec::new(),
                target: Target::Tokens(labels),
            });
            encoded.push(index, sequence.filter(|sequence| sequence.scored() > 0), length);
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

    /// Tokens and their labels, at full length: [`IGNORED`] where a token does not count.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn whole(&self, item: &Item) -> Result<(Vec<u32>, Vec<i64>)> {
        let prompt: Vec<_> = self.bos.into_iter().chain(self.tokenizer.encode(&item.prompt)?).collect();
        let response = self.tokenizer.encode(&item.response)?;
        let masked = match self.loss {
            Loss::Response => prompt.len(),
            Loss::Full => 0,
        };
        let tokens: Vec<_> = prompt.into_iter().chain(response).chain(self.eos).collect();
        let mut labels: Vec<_> = tokens.iter().map(|token| i64::from(*token)).collect();
        labels[..masked.max(1).min(tokens.len())].fill(IGNORED);
        Ok((tokens, labels))
    }

    /// A sequence that is too long, by the rule; none where it is dropped.
    fn cut(
        &self,
        item: &Item,
        mut tokens: Vec<u32>,
        mut labels: Vec<i64>,
    ) -> Result<Option<(Vec<u32>, Vec<i64>)>> {
        match self.truncation {
            Truncation::Error => return Err(too_long(item, tokens.len(), self.max_length)),
            Truncation::Drop => return Ok(None),
            Truncation::KeepStart => {
                tokens.truncate(self.max_length);
                labels.truncate(self.max_length);
            }
            Truncation::KeepEnd => {
                let surplus = tokens.len() - self.max_length;
                tokens.drain(..surplus);
                labels.drain(..surplus);
                labels[0] = IGNORED;
            }
        }
        Ok(Some((tokens, labels)))
    }
}

impl Encoded {
    /// Adds what is left of item `index`, whose sequence had `length` tokens; none where nothing is.
    fn push(&mut self, index: usize, sequence: Option<Sequence>, length: usize) {
        match sequence {
            None => self.truncated.dropped += 1,
            Some(sequence) => {
                self.truncated.cut += usize::from(sequence.tokens.len() < length);
                self.sequences.push(sequence);
                self.items.push(index);
            }
        }
    }
}

fn too_long(item: &Item, tokens: usize, room: usize) -> Error {
    Error::TooLong { item: item.id.clone(), tokens, room }
}
