//! Rows of the corpus for pretraining.

use super::corpus::Corpus;
use crate::vocabulary::TextTokenizer;
use crate::{Error, Result};

/// One training row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `<bos>`, then whole documents, each followed by `<eos>`; the last one is cut at the end of the row.
    /// Every token but the first counts for the loss.
    pub ids: Vec<u32>,
    /// The document the next row begins with: where to go on from here.
    pub next_document: u64,
}

/// The corpus as rows of equal length. Every row begins with a document of its own, so no row holds a text whose
/// beginning it cannot see.
#[derive(Debug)]
pub struct PackedRows<'a> {
    corpus: &'a Corpus,
    tokenizer: &'a TextTokenizer,
    row_length: usize,
    bos: u32,
    eos: u32,
    document: u64,
}

impl<'a> PackedRows<'a> {
    /// Rows from document `first` on.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the tokenizer lacks a beginning- or end-of-sequence token.
    pub fn new(
        corpus: &'a Corpus,
        tokenizer: &'a TextTokenizer,
        row_length: usize,
        first: u64,
    ) -> Result<Self> {
        let lacks = |which: &str| Error::Tokenizer { reason: format!("it has no {which} token") };
        let bos = tokenizer.bos().ok_or_else(|| lacks("beginning-of-sequence"))?;
        let eos = tokenizer.eos().ok_or_else(|| lacks("end-of-sequence"))?;
        Ok(Self { corpus, tokenizer, row_length, bos, eos, document: first })
    }
}

impl Iterator for PackedRows<'_> {
    type Item = Result<Row>;

    /// Never ends.
    fn next(&mut self) -> Option<Result<Row>> {
        let mut ids = vec![self.bos];
        while ids.len() < self.row_length {
            match self.tokenizer.encode(&self.corpus.document(self.document).text) {
                Ok(tokens) => ids.extend(tokens),
                Err(error) => return Some(Err(error)),
            }
            ids.push(self.eos);
            self.document += 1;
        }
        ids.truncate(self.row_length);
        Some(Ok(Row { ids, next_document: self.document }))
    }
}
