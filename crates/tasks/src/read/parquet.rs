//! Apache Parquet, a row at a time.

use super::{Take, malformed};
use crate::{Error, Result};
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Each row as an object; its line is its place in the file, from 1.
///
/// The reader holds one column chunk of a row group at a time. It panics at some malformed pages; that is the file's
/// fault like any other.
pub fn rows(path: &Path, take: &mut Take<'_>) -> Result<()> {
    let file = File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let reader = SerializedFileReader::new(file).map_err(|error| malformed(path, 1, error.to_string()))?;
    let mut rows = reader.get_row_iter(None).map_err(|error| malformed(path, 1, error.to_string()))?;
    let mut line = 0;
    loop {
        line += 1;
        let row = catch_unwind(AssertUnwindSafe(|| rows.next()))
            .map_err(|_| malformed(path, line, "not a well-formed Parquet page"))?;
        match row {
            None => return Ok(()),
            Some(Err(error)) => return Err(malformed(path, line, error.to_string())),
            Some(Ok(row)) => take(line, &row.to_json_value(), &[])?,
        }
    }
}
