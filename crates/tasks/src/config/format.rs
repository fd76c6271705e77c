//! How data files are written.

use super::{Files, Problem};
use serde::{Deserialize, Serialize};

/// How a data file is written. `.gz` is unpacked whatever the format (but `parquet`, which packs by itself).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One array of objects, or the lists that `records` leads to. A string in place of an object is its field `text`.
    Json,
    /// One object a line.
    Jsonl,
    /// Comma-separated; quotes may surround a value.
    Csv,
    /// Tab-separated; quotes mean nothing.
    Tsv,
    /// Apache Parquet, uncompressed or packed by Snappy or Zstandard.
    Parquet,
    /// Plain text; each of its `documents` has the one field `text`. Blank ones are passed over.
    Text,
}

/// What is one item of a plain text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Documents {
    /// Each line.
    #[default]
    Lines,
    /// The whole file.
    File,
    /// What stands between two occurrences of a text.
    Separator(String),
}

/// What happens to a row of a table that has other columns than the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ragged {
    /// It is an error.
    #[default]
    Error,
    /// It is left out and counted.
    Skip,
}

impl Files {
    /// Settings that have no meaning for the format.
    pub(super) fn check_format(&self) -> Result<(), Problem> {
        use Format::{Csv, Json, Parquet, Text, Tsv};
        let only = |name: &str, formats: &[Format], words: &str| {
            if formats.contains(&self.format) {
                return Ok(());
            }
            Err(Problem::new(name, format!("`{name}` is for the format {words}")))
        };
        if self.records.is_some() {
            only("records", &[Json], "`json`")?;
        }
        if self.documents != Documents::Lines {
            only("documents", &[Text], "`text`")?;
        }
        if self.documents == Documents::Separator(String::new()) {
            return Err(Problem::new("documents", "an empty `separator` separates nothing"));
        }
        if !self.header {
            only("header", &[Csv, Tsv], "`csv` and `tsv`")?;
        }
        if self.ragged != Ragged::Error {
            only("ragged", &[Csv, Tsv], "`csv` and `tsv`")?;
        }
        let packed = self.splits.paths().find(|path| path.extension().is_some_and(|end| end == "gz"));
        if let (Parquet, Some(path)) = (self.format, packed) {
            let path = path.display();
            return Err(Problem::new(
                &path.to_string(),
                format!("`{path}`: a `parquet` file is read by jumping in it, which `.gz` does not allow"),
            ));
        }
        Ok(())
    }
}
