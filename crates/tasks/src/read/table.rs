//! Tables with a header line: comma- or tab-separated.

use super::input::Input;
use super::malformed;
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::path::Path;

/// One object a row, its entries named by the header.
pub fn rows(
    input: &mut Input,
    path: &Path,
    delimiter: u8,
    quoting: bool,
    take: &mut dyn FnMut(usize, Value) -> Result<()>,
) -> Result<()> {
    let failed = |error: csv::Error| match (error.position().map(csv::Position::line), error.into_kind()) {
        (_, csv::ErrorKind::Io(source)) => Error::Io { path: path.to_owned(), source },
        (line, kind) => malformed(path, line.unwrap_or(1) as usize, describe(&kind)),
    };
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).quoting(quoting).from_reader(input);
    let header = reader.headers().map_err(failed)?.clone();
    let mut row = csv::StringRecord::new();
    while reader.read_record(&mut row).map_err(failed)? {
        let line = row.position().map_or(0, csv::Position::line) as usize;
        let object: Map<_, _> =
            header.iter().zip(&row).map(|(name, text)| (name.to_owned(), Value::from(text))).collect();
        take(line, Value::Object(object))?;
    }
    Ok(())
}

fn describe(kind: &csv::ErrorKind) -> String {
    match kind {
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} columns where the header has {expected_len}")
        }
        other => format!("{other:?}"),
    }
}
