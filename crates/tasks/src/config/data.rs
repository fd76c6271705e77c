//! `[data]`: where items come from.

use super::{Builtin, Problem};
use crate::item::{PerSplit, Split};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where the items of a task come from: `[data.builtin.<name>]` or `[data.files]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// Our name of each field = its name in the file (a column; for JSON a dotted path).
    pub fields: IndexMap<String, String>,
    /// Further fields, made from others in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rewrite: Vec<Rewrite>,
    /// Where each split comes from.
    pub splits: PerSplit<Source>,
    /// At most so many items, the first ones, of a split.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limit: BTreeMap<Split, usize>,
}

/// How a data file is written. `.gz` is unpacked whatever the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One array of objects.
    Json,
    /// One object a line.
    Jsonl,
    /// Comma-separated with a header line.
    Csv,
    /// Tab-separated with a header line; quotes mean nothing.
    Tsv,
}

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
    /// `builtin:math`, or `files`: for listings and records.
    pub fn source(&self) -> String {
        match self {
            Self::Builtin(builtin) => format!("builtin:{}", builtin.name()),
            Self::Files(_) => "files".to_owned(),
        }
    }

    /// The fields every item has.
    pub fn field_names(&self) -> Vec<String> {
        match self {
            Self::Builtin(builtin) => builtin.field_names().iter().map(ToString::to_string).collect(),
            Self::Files(files) => {
                let made = files.rewrite.iter().map(|rewrite| rewrite.field.clone());
                files.fields.keys().cloned().chain(made).collect()
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
    fn check(&self) -> Result<(), Problem> {
        if matches!(self.splits.train, Source::LastOfTrain(_) | Source::HashedOfTrain(_)) {
            return Err(Problem::new("train", "the training split needs a `file` or `files` of its own"));
        }
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
        Ok(())
    }
}
