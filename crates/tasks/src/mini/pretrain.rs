//! `[data]` of a pretraining file: corpus, tokenizer and probes.

use super::corpus::Kind;
use super::probes::Skill;
use crate::parse::from_toml;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a built-in base model is made from and must know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainData {
    /// Tokens of one training row: `<bos>` and documents, each with its `<eos>`.
    pub row_length: usize,
    /// The documents.
    pub corpus: CorpusConfig,
    /// The vocabulary.
    pub tokenizer: TokenizerConfig,
    /// What the finished model must be able to do.
    pub probes: ProbeConfig,
}

/// The documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusConfig {
    /// Seed of the choice of documents; the world they are about does not depend on it.
    pub seed: u64,
    /// Weight of each kind of document; a kind left out does not occur.
    pub weights: BTreeMap<Kind, u32>,
}

/// The vocabulary: byte-level BPE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerConfig {
    /// Its size, the 256 bytes and the special tokens included.
    pub vocab_size: usize,
    /// The first so many documents of the corpus are read.
    pub documents: u64,
    /// Copies of every line of small talk that are read in addition, so that its words become tokens.
    pub small_talk_copies: usize,
}

/// Greedy checks of the finished model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeConfig {
    /// Seed of the choice of probes.
    pub seed: u64,
    /// Probes of each skill.
    pub items: usize,
    /// The share of probes that must pass, for every skill that has a bar.
    pub bars: BTreeMap<Skill, f64>,
}

impl PretrainData {
    /// Reads the `[data]` section of a pretraining file and passes over the others.
    ///
    /// # Errors
    /// [`Error::Config`] with line and nearest name.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Section {
            data: PretrainData,
        }
        let data = from_toml::<Section>(text, origin)?.data;
        data.check(origin)?;
        Ok(data)
    }

    /// Checks what types cannot say; a harness that parses the file in one piece calls it.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self, origin: &str) -> Result<()> {
        let refuse = |reason: &str| {
            Err(Error::Config {
                origin: origin.to_owned(),
                line: None,
                reason: reason.to_owned(),
                hint: None,
            })
        };
        if self.corpus.weights.values().all(|weight| *weight == 0) {
            return refuse("at least one of `weights` must be positive");
        }
        if self.row_length < 2 {
            return refuse("`row_length` must be at least 2");
        }
        if self.probes.bars.values().any(|bar| !(0.0..=1.0).contains(bar)) {
            return refuse("`bars` are shares between 0 and 1");
        }
        Ok(())
    }
}
