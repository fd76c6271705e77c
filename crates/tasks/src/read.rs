//! Streaming readers of data files: JSON, JSONL, CSV, TSV and plain text, as they are or gzipped, and Parquet.

mod input;
mod json;
mod parquet;
mod record;
mod table;
mod text;

use crate::config::{Files, Format};
use crate::{Error, Result};
use input::Input;
pub use record::Record;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};
use table::Layout;

/// What was read, for the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// The repository of the hub that it is from, as `OWNER/NAME@COMMIT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The path below the data folder, or in the repository.
    pub path: PathBuf,
    /// SHA-256 of the file as it lies on disk, in hexadecimal.
    pub sha256: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The records in it.
    pub records: usize,
    /// Rows that were left out because they have other columns than the first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: usize,
}

/// Takes a record: its line, itself and the objects around it.
type Take<'a> = dyn FnMut(usize, &Value, &[&Value]) -> Result<()> + 'a;

/// Reads `root/path` and hands over one record at a time; nothing else of the file is kept.
///
/// # Errors
/// [`Error::Io`]; [`Error::Record`] with file and line for text that is malformed or not UTF-8;
/// [`Error::Empty`]; whatever `take` returns.
pub fn read(
    root: &Path,
    path: &Path,
    files: &Files,
    mut take: impl FnMut(Record<'_>) -> Result<()>,
) -> Result<DataFile> {
    let full = root.join(path);
    let mut input = Input::open(&full)?;
    let (mut records, mut skipped) = (0, 0);
    let mut count = |line, value: &Value, parents: &[&Value]| {
        records += 1;
        take(Record { path: &full, line, value, parents })
    };
    let layout =
        |delimiter, quoting| Layout { delimiter, quoting, header: files.header, ragged: files.ragged };
    match files.format {
        Format::Json => json::records(&mut input, &full, files.records.as_deref(), &mut count)?,
        Format::Jsonl => json::lines(&mut input, &full, &mut count)?,
        Format::Csv => skipped = table::rows(&mut input, &full, &layout(b',', true), &mut count)?,
        Format::Tsv => skipped = table::rows(&mut input, &full, &layout(b'\t', false), &mut count)?,
        Format::Parquet => parquet::rows(&full, &mut count)?,
        Format::Text => text::documents(&mut input, &full, &files.documents, &mut count)?,
    }
    let (sha256, bytes) = input.finish(&full)?;
    if records == 0 {
        return Err(Error::Empty { path: full });
    }
    Ok(DataFile { repo: None, path: path.to_owned(), sha256, bytes, records, skipped })
}

/// An error at a line of a file.
fn malformed(path: &Path, line: usize, reason: impl Into<String>) -> Error {
    Error::Record { path: path.to_owned(), line, reason: reason.into(), hint: None }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}
