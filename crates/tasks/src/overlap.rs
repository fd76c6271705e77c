//! What occurs twice in a task's data.

use crate::item::{Item, PerSplit, Split};
use crate::task::Task;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Texts that occur more than once, in a split or in two. Texts are equal when they are so after case and white space
/// are made alike; blank ones are passed over.
///
/// A prompt of the test split that occurs in training makes the score one of memory. A field that does so (a label, a
/// shared passage) may be meant to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlap {
    /// The prompts, with their second texts.
    pub prompt: Repeats,
    /// The fields that the prompt is made of.
    pub fields: IndexMap<String, Repeats>,
}

/// Where a text occurs again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeats {
    /// Items of each split whose text an earlier item of the split has.
    pub within: PerSplit<usize>,
    /// Test items whose text a training item has.
    pub test_in_train: usize,
    /// Test items whose text a validation item has.
    pub test_in_validation: usize,
    /// Validation items whose text a training item has.
    pub validation_in_train: usize,
    /// The first few of those between two splits.
    pub examples: Vec<Repeat>,
}

/// Two items of different splits with the same text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeat {
    /// The training item, or for a test item that only occurs in validation that one.
    pub first: String,
    /// The other item.
    pub second: String,
    /// The beginning of the text.
    pub text: String,
}

/// Examples that are kept.
const EXAMPLES: usize = 3;

/// Characters of an example.
const SHOWN: usize = 120;

impl Task {
    /// What occurs twice in the data.
    pub fn overlap(&self) -> Overlap {
        let prompt = &self.config().prompt;
        let names = prompt.second.iter().chain([&prompt.template]).flat_map(crate::Template::fields);
        Overlap {
            prompt: repeats(self, |item| Some(asked(item))),
            fields: names
                .map(|name| (name.to_owned(), repeats(self, |item| item.fields.get(name).cloned())))
                .collect(),
        }
    }
}

fn repeats(task: &Task, text: impl Fn(&Item) -> Option<String>) -> Repeats {
    let mut found = Repeats::default();
    // The first item with each text, by split.
    let mut first: PerSplit<BTreeMap<String, &str>> = PerSplit::default();
    for split in Split::ALL {
        for item in task.items(split) {
            let Some(text) = text(item).map(|text| alike(&text)).filter(|text| !text.is_empty()) else {
                continue;
            };
            let earlier = |split: Split| first.of(split).get(&text).copied();
            let (train, validation) = match split {
                Split::Train => (None, None),
                Split::Validation => (earlier(Split::Train), None),
                Split::Test => (earlier(Split::Train), earlier(Split::Validation)),
            };
            match split {
                Split::Train => {}
                Split::Validation => found.validation_in_train += usize::from(train.is_some()),
                Split::Test => {
                    found.test_in_train += usize::from(train.is_some());
                    found.test_in_validation += usize::from(validation.is_some());
                }
            }
            if let Some(other) = train.or(validation)
                && found.examples.len() < EXAMPLES
            {
                found.examples.push(Repeat {
                    first: other.to_owned(),
                    second: item.id.clone(),
                    text: text.chars().take(SHOWN).collect(),
                });
            }
            if earlier(split).is_some() {
                *found.within.of_mut(split) += 1;
            } else {
                first.of_mut(split).insert(text, &item.id);
            }
        }
    }
    found
}

/// Leaves out the training and validation items that are also tested.
pub fn drop_leaked(items: &mut PerSplit<Vec<Item>>) {
    let tested: BTreeSet<_> = items.test.iter().map(|item| alike(&asked(item))).collect();
    for split in [Split::Train, Split::Validation] {
        items.of_mut(split).retain(|item| !tested.contains(&alike(&asked(item))));
    }
}

/// What an item asks.
fn asked(item: &Item) -> String {
    format!("{} {}", item.prompt, item.second.as_deref().unwrap_or_default())
}

/// Lower case, with single spaces.
fn alike(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}
