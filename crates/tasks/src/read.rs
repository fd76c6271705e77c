//! Streaming readers of data files: JSON, JSONL, CSV and TSV, plain or gzipped.

mod input;
mod json;
mod table;

use crate::config::Format;
use crate::error::suggest;
use crate::{Error, Result};
use input::Input;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What was read, for the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// The path below the data folder.
    pub path: PathBuf,
    /// SHA-256 of the file as it lies on disk, in hexadecimal.
    pub sha256: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The records in it.
    pub records: usize,
}

/// One record of a file, and where it stands.
pub struct Record<'a> {
    path: &'a Path,
    line: usize,
    value: Value,
}

/// Reads `root/path` and hands over one record at a time; nothing else of the file is kept.
///
/// # Errors
/// [`Error::Io`]; [`Error::Record`] with file and line for text that is malformed or not UTF-8;
/// [`Error::Empty`]; whatever `take` returns.
pub fn read(
    root: &Path,
    path: &Path,
    format: Format,
    mut take: impl FnMut(Record<'_>) -> Result<()>,
) -> Result<DataFile> {
    let full = root.join(path);
    let mut input = Input::open(&full)?;
    let mut records = 0;
    let mut count = |line, value| {
        records += 1;
        take(Record { path: &full, line, value })
    };
    match format {
        Format::Json => json::array(&mut input, &full, &mut count)?,
        Format::Jsonl => json::lines(&mut input, &full, &mut count)?,
        Format::Csv => table::rows(&mut input, &full, b',', true, &mut count)?,
        Format::Tsv => table::rows(&mut input, &full, b'\t', false, &mut count)?,
    }
    let (sha256, bytes) = input.finish(&full)?;
    if records == 0 {
        return Err(Error::Empty { path: full });
    }
    Ok(DataFile { path: path.to_owned(), sha256, bytes, records })
}

impl Record<'_> {
    /// The text of a field: the entry of that name, else the one at that dotted path. Numbers and truth values
    /// are written out, lists and objects as JSON.
    ///
    /// # Errors
    /// [`Error::Record`] when there is none, or it is null.
    pub fn text(&self, field: &str) -> Result<String> {
        let found = self.value.get(field).or_else(|| {
            field.split('.').try_fold(&self.value, |value, part| match part.parse::<usize>() {
                Ok(index) if value.is_array() => value.get(index),
                _ => value.get(part),
            })
        });
        match found {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Null) => Err(self.error(format!("nothing in field `{field}`"), None)),
            None => {
                let present = self.value.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
                Err(self.error(format!("no field `{field}`"), suggest(field, present)))
            }
            Some(other) => Ok(other.to_string()),
        }
    }

    /// An error at this record.
    fn error(&self, reason: String, hint: Option<String>) -> Error {
        Error::Record { path: self.path.to_owned(), line: self.line, reason, hint }
    }
}

/// An error at a line of a file.
fn malformed(path: &Path, line: usize, reason: impl Into<String>) -> Error {
    Error::Record { path: path.to_owned(), line, reason: reason.into(), hint: None }
}
