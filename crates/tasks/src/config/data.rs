//! `[data]`: where items come from.

use super::{Builtin, Documents, Filter, Format, Group, Hub, Leaked, Problem, Ragged, SamePrompt, Source};
use crate::item::{PerSplit, Split};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where the items of a task come from: `[data.builtin.<name>]` or `[data.files]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "there is one for each task")]
pub enum Data {
    /// Generated; nothing is read.
    Builtin(Builtin),
    /// Read from files below the data folder.
    Files(Files),
}

/// Data files and what their columns are called here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// How the files are written.
    pub format: Format,
    /// Where the records of a JSON file are: a dotted path whose lists are all walked through, as
    /// `data.paragraphs.qas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<String>,
    /// What is one item of a plain text.
    #[serde(default, skip_serializing_if = "is_default")]
    pub documents: Documents,
    /// Whether the first row of a table names its columns; else their names are `1`, `2`, ...
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub header: bool,
    /// What happens to a row of a table that has other columns than the first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ragged: Ragged,
    /// Our name of each field = its name in the file: a column, or for nested records a dotted path. A number in it
    /// is a place in a list, `*` all places (the field is then a JSON list), a leading `^` the enclosing object.
    pub fields: IndexMap<String, String>,
    /// Further fields, made from others in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rewrite: Vec<Rewrite>,
    /// Which items of a split's files are kept; all of its conditions must hold.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<Split, Vec<Filter>>,
    /// Makes one item of several rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
    /// What happens to training items whose prompts are equal.
    #[serde(default, skip_serializing_if = "is_default")]
    pub same_prompt: SamePrompt,
    /// What happens to training and validation items that are also tested.
    #[serde(default, skip_serializing_if = "is_default")]
    pub leaked: Leaked,
    /// Where each split comes from.
    pub splits: PerSplit<Source>,
    /// At most so many items, the first ones, of a split.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limit: BTreeMap<Split, usize>,
    /// Where the hub has them, and what is different there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<Hub>,
}

/// Makes a field from another by a regular expression.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// The field that is made (or replaced).
    pub field: String,
    /// The field it is made from.
    pub from: String,
    /// What is replaced wherever it occurs.
    pub pattern: String,
    /// By what; `$1` is the first group.
    pub with: String,
}

impl Data {
    /// `builtin:math`, `hf:openai/gsm8k`, or `files`: for listings and records.
    pub fn source(&self) -> String {
        match self {
            Self::Builtin(builtin) => format!("builtin:{}", builtin.name()),
            Self::Files(Files { hub: Some(hub), .. }) => format!("hf:{}", hub.repo),
            Self::Files(_) => "files".to_owned(),
        }
    }

    /// The fields every item has.
    pub fn field_names(&self) -> Vec<String> {
        match self {
            Self::Builtin(builtin) => builtin.field_names().iter().map(ToString::to_string).collect(),
            Self::Files(files) => {
                let made = files.rewrite.iter().map(|rewrite| rewrite.field.clone());
                let grouped = files.group.iter().map(|group| group.field.clone());
                files.fields.keys().cloned().chain(made).chain(grouped).collect()
            }
        }
    }

    pub(super) fn check(&self) -> Result<(), Problem> {
        match self {
            Self::Builtin(builtin) => builtin.check(),
            Self::Files(files) => files.check(),
        }
    }
}

impl Files {
    pub(super) fn check(&self) -> Result<(), Problem> {
        self.check_format()?;
        self.check_hub()?;
        self.check_sources()?;
        let mut known: Vec<&str> = self.fields.keys().map(String::as_str).collect();
        for rewrite in &self.rewrite {
            if let Err(error) = regex::Regex::new(&rewrite.pattern) {
                return Err(Problem::new("rewrite", format!("`pattern` of `{}`: {error}", rewrite.field)));
            }
            if !known.contains(&rewrite.from.as_str()) {
                return Err(Problem {
                    at: format!("\"{}\"", rewrite.from),
                    reason: format!(
                        "`{}` is made from `{}`, which no field is called",
                        rewrite.field, rewrite.from
                    ),
                    hint: crate::error::suggest(&rewrite.from, known),
                });
            }
            known.push(&rewrite.field);
        }
        self.check_choices(&known)
    }
}

fn yes() -> bool {
    true
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
