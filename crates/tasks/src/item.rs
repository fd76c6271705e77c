//! Items: what one prompt asks, and how it is told apart.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Values by name, as templates and scoring see them.
pub type Fields = BTreeMap<String, String>;

/// Fields from pairs.
pub(crate) fn fields<const N: usize>(pairs: [(&str, String); N]) -> Fields {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What a part of the data is for. The test split never chooses anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Trained on.
    Train,
    /// Chooses checkpoints and hyper-parameters.
    Validation,
    /// Reported.
    Test,
}

impl Split {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// Its name in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// One value for each split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerSplit<T> {
    /// For the training split.
    pub train: T,
    /// For the validation split.
    pub validation: T,
    /// For the test split.
    pub test: T,
}

impl<T> PerSplit<T> {
    /// The value of one split.
    pub fn of(&self, split: Split) -> &T {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }

    /// The value of one split, to be changed.
    pub fn of_mut(&mut self, split: Split) -> &mut T {
        match split {
            Split::Train => &mut self.train,
            Split::Validation => &mut self.validation,
            Split::Test => &mut self.test,
        }
    }

    /// Turns each value into another.
    pub fn map<U>(self, mut turn: impl FnMut(T) -> U) -> PerSplit<U> {
        PerSplit { train: turn(self.train), validation: turn(self.validation), test: turn(self.test) }
    }

    /// Makes the three values in order.
    ///
    /// # Errors
    /// The first error of `make`.
    pub fn try_from_fn<E>(mut make: impl FnMut(Split) -> Result<T, E>) -> Result<Self, E> {
        Ok(Self {
            train: make(Split::Train)?,
            validation: make(Split::Validation)?,
            test: make(Split::Test)?,
        })
    }
}

/// One item of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Unique in the task: the split and the place in it.
    pub id: String,
    /// Items that stand or fall together (the two halves of a pair, questions about one fact): the unit of
    /// resampling for an interval.
    pub cluster: Option<String>,
    /// What is asked, without what only varies its surface; no key occurs in two splits.
    pub key: String,
    /// The rendered prompt.
    pub prompt: String,
    /// The rendered second text of a pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<String>,
    /// The rendered gold response.
    pub response: String,
    /// The values behind both, and those that only scoring reads.
    pub fields: Fields,
}
