//! The pretraining corpus: an endless stream of short documents, each fixed by the seed and its number.

use super::documents;
use super::pretrain::CorpusConfig;
use crate::dice::Dice;
use serde::{Deserialize, Serialize};

/// What a document is about. The corpus teaches the skills the tasks need, never in the tasks' formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Properties of animals, in three phrasings.
    Facts,
    /// The animal with two properties.
    TwoFacts,
    /// All animals with a property.
    Groups,
    /// Which of two is bigger; orders of size.
    Compare,
    /// Lists with labels, and what stands at a label.
    Lists,
    /// The one of a list that fits a description.
    Pick,
    /// Saying something again, as it was or in another order.
    Copy,
    /// Chains of sums, differences and products.
    Arithmetic,
    /// Who has how many, with every result stated.
    Stories,
    /// What happens to somebody's things, and after it what that comes to.
    Recap,
    /// Sums and bounds in words.
    Verbal,
    /// Programs and what they print.
    Programs,
    /// What one statement means, both ways.
    Glossary,
    /// Questions how to do something, all of them answered.
    Dialogues,
    /// What something needs.
    Needs,
    /// What is a person, a pest, a toxin, ... and what such things do.
    Categories,
    /// Fixed lines that hold the words of the tasks in other uses.
    SmallTalk,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 17] = [
        Self::Facts,
        Self::TwoFacts,
        Self::Groups,
        Self::Compare,
        Self::Lists,
        Self::Pick,
        Self::Copy,
        Self::Arithmetic,
        Self::Stories,
        Self::Recap,
        Self::Verbal,
        Self::Programs,
        Self::Glossary,
        Self::Dialogues,
        Self::Needs,
        Self::Categories,
        Self::SmallTalk,
    ];
}

/// One document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What it is about.
    pub kind: Kind,
    /// Its text, with a space before every word.
    pub text: String,
}

/// The endless corpus. Document `i` depends on the seed, the weights and `i` alone, so reading can begin anywhere.
#[derive(Debug, Clone)]
pub struct Corpus {
    kinds: Vec<Kind>,
    weights: Vec<u32>,
    dice: Dice,
}

impl Corpus {
    /// The corpus of a configuration.
    pub fn new(config: &CorpusConfig) -> Self {
        let (kinds, weights) = config.weights.iter().map(|(kind, weight)| (*kind, *weight)).unzip();
        Self { kinds, weights, dice: Dice::named(config.seed, "corpus") }
    }

    /// The `index`-th document.
    pub fn document(&self, index: u64) -> Document {
        let mut dice = self.dice.nth(index);
        let kind = self.kinds[dice.weighted(&self.weights)];
        Document { kind, text: documents::write(kind, &mut dice) }
    }

    /// All documents from `first` on.
    pub fn documents(&self, first: u64) -> impl Iterator<Item = Document> + '_ {
        (first..).map(|index| self.document(index))
    }

    /// A document of one kind, whatever its weight: for looking at.
    pub fn sample(&self, kind: Kind, index: u64) -> Document {
        let mut dice = self.dice.nth(index);
        Document { kind, text: documents::write(kind, &mut dice) }
    }
}
