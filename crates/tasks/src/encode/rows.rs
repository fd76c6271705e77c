//! Texts as models read them that judge a text instead of going on with it: framed by the tokenizer's special tokens, a
//! second text behind a separator.

use super::{Encoded, Sequence, Target, too_long};
use crate::config::{TaskConfig, Truncation};
use crate::item::Item;
use crate::vocabulary::{Cut, Framed, TextTokenizer};
use crate::{Error, Result};

/// Encodes items whose label is no text that follows theirs.
#[derive(Debug)]
pub struct RowEncoder {
    framed: Framed,
    truncation: Truncation,
    max_length: usize,
}

/// The rows of all items: one each, or several where the second text is read through windows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// The rows.
    pub rows: Vec<Row>,
    /// The index of the item of each.
    pub items: Vec<usize>,
    /// Items of which something was cut.
    pub cut: usize,
}

/// One row of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// Which of two texts each belongs to, as the tokenizer numbers them; empty where all are 0.
    pub types: Vec<u32>,
    /// For tokens of the second text, or of the only one, its characters from..to in that text.
    pub places: Vec<Option<(usize, usize)>>,
}

impl RowEncoder {
    /// An encoder for a task; where `stride` is given, a second text that is too long is read through windows that
    /// share so many tokens.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn new(config: &TaskConfig, tokenizer: &TextTokenizer, stride: Option<usize>) -> Result<Self> {
        let (max_length, truncation) = (config.training.max_length, config.training.truncation);
        let cut = match (stride, truncation) {
            (Some(stride), _) => Cut::Windows { stride },
            (None, Truncation::KeepEnd) => Cut::Start,
            (None, _) => Cut::End,
        };
        Ok(Self { framed: tokenizer.framed(max_length, cut)?, truncation, max_length })
    }

    /// The rows of `items` to answer; every item has one at least.
    ///
    /// # Errors
    /// [`Error::TooLong`] under `truncation = "error"`; [`Error::Tokenizer`].
    pub fn rows(&self, items: &[Item]) -> Result<Rows> {
        let mut all = Rows::default();
        for (index, item) in items.iter().enumerate() {
            let (rows, whole) = self.framed.encode(&item.prompt, item.second.as_deref())?;
            all.cut += usize::from(self.loses(item, whole)?);
            all.items.resize(all.items.len() + rows.len(), index);
            all.rows.extend(rows);
        }
        Ok(all)
    }

    /// Sequences to train on, with the target that `target` finds for a row.
    ///
    /// # Errors
    /// As [`Self::rows`], and what `target` says of an item.
    pub fn sequences(
        &self,
        items: &[Item],
        target: impl Fn(&Item, &Row) -> Result<Target, String>,
    ) -> Result<Encoded> {
        let mut encoded = Encoded::default();
        for (index, item) in items.iter().enumerate() {
            let (rows, whole) = self.framed.encode(&item.prompt, item.second.as_deref())?;
            encoded.truncated.longest = encoded.truncated.longest.max(whole);
            if self.loses(item, whole)? {
                if self.truncation == Truncation::Drop {
                    encoded.truncated.dropped += 1;
                    continue;
                }
                encoded.truncated.cut += 1;
            }
            for row in rows {
                let wrong = |reason| Error::Label { item: item.id.clone(), reason };
                let target = target(item, &row).map_err(wrong)?;
                encoded.sequences.push(Sequence { tokens: row.tokens, types: row.types, target });
                encoded.items.push(index);
            }
        }
        Ok(encoded)
    }

    /// The tokens of a text to write, framed, at most `max_length` of them.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn text(&self, text: &str) -> Result<Vec<i64>> {
        let (rows, _) = self.framed.encode(text, None)?;
        Ok(rows[0].tokens.iter().map(|token| i64::from(*token)).collect())
    }

    /// Whether a row of `whole` tokens is cut; windows lose nothing.
    fn loses(&self, item: &Item, whole: usize) -> Result<bool> {
        let cut = whole > self.max_length && !self.framed.has_windows();
        if cut && self.truncation == Truncation::Error {
            return Err(too_long(item, whole, self.max_length));
        }
        Ok(cut)
    }
}
