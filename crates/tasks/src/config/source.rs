//! Which items a split has.

use super::{Files, Problem};
use crate::error::suggest;
use crate::item::{PerSplit, Split};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The source of one split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// One file.
    File(PathBuf),
    /// Several files, one after the other.
    Files(Vec<PathBuf>),
    /// The last so many items of the training file, which training then lacks.
    LastOfTrain(usize),
    /// So many items of the training file, those with the smallest SHA-256 of their fields: the choice does not
    /// depend on the order of the file. Items that are equal stay together.
    HashedOfTrain(usize),
    /// The same split of another task, with that task's prompt and response: a provided task by name, or a task file
    /// (`.toml`), either with one of its presets as `NAME:PRESET`. That task must read its own items.
    Task(String),
    /// No item.
    None,
}

/// Keeps the items whose field is in a range of numbers, or is one of some texts. Every condition given must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The field.
    pub field: String,
    /// The smallest number that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The largest number that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The texts that are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<String>>,
    /// The texts that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub none_of: Vec<String>,
}

/// Makes one item of the rows that have the same value in a field: several references for one input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The field whose value the rows share. The other fields are those of the first row.
    pub by: String,
    /// The field that is made: a JSON list of texts. In a split that is not grouped the list has one.
    pub field: String,
    /// The field whose values are collected.
    pub from: String,
    /// The splits that are grouped.
    pub splits: Vec<Split>,
}

/// What happens to training items whose prompts are equal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamePrompt {
    /// Each is trained on.
    #[default]
    Keep,
    /// One stays, in the place of the first and with the response of the last, as in a dictionary of prompts.
    Collapse,
}

/// What happens to training and validation items whose prompt, but for case and white space, is one of the test.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leaked {
    /// They stay, and [`Task::overlap`](crate::Task::overlap) counts them.
    #[default]
    Keep,
    /// They are left out.
    Drop,
}

impl Source {
    /// The files it names.
    pub fn paths(&self) -> &[PathBuf] {
        match self {
            Self::File(path) => std::slice::from_ref(path),
            Self::Files(paths) => paths,
            _ => &[],
        }
    }

    /// Whether its items are taken from the training file.
    pub fn is_of_train(&self) -> bool {
        matches!(self, Self::LastOfTrain(_) | Self::HashedOfTrain(_))
    }
}

impl PerSplit<Source> {
    /// All files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        Split::ALL.into_iter().flat_map(|split| self.of(split).paths()).map(PathBuf::as_path)
    }
}

impl Files {
    pub(super) fn check_sources(&self) -> Result<(), Problem> {
        let own = |split: Split| !self.splits.of(split).paths().is_empty();
        if self.splits.train.is_of_train() {
            return Err(Problem::new("train", "the training split needs a `file` or `files` of its own"));
        }
        for split in [Split::Validation, Split::Test] {
            if self.splits.of(split).is_of_train() && !own(Split::Train) {
                let reason =
                    format!("the {} split is taken from the training file, and there is none", split.name());
                return Err(Problem::new(split.name(), reason));
            }
        }
        if self.splits.test == Source::None && self.splits.train == Source::None {
            return Err(Problem::new("test", "neither a training nor a test split"));
        }
        match self.filter.keys().find(|split| !own(**split)) {
            Some(split) => {
                let reason = format!("the {} split has no file of its own to filter", split.name());
                Err(Problem::new("filter", reason))
            }
            None => Ok(()),
        }
    }

    /// The fields that filters and groups read; `known` are those that exist.
    pub(super) fn check_choices(&self, known: &[&str]) -> Result<(), Problem> {
        let group = self.group.iter().flat_map(|group| [&group.by, &group.from]);
        let filters = self.filter.values().flatten();
        for name in filters.clone().map(|filter| &filter.field).chain(group) {
            if !known.contains(&name.as_str()) {
                return Err(Problem {
                    at: format!("\"{name}\""),
                    reason: format!("no field is called `{name}`"),
                    hint: suggest(name, known.iter().copied()),
                });
            }
        }
        for Filter { field, min, max, one_of, none_of } in filters {
            if min.is_none() && max.is_none() && one_of.is_none() && none_of.is_empty() {
                let reason = format!("the filter on `{field}` needs `min`, `max`, `one_of` or `none_of`");
                return Err(Problem::new("filter", reason));
            }
        }
        Ok(())
    }
}
