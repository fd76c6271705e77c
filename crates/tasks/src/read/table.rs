//! Tables: comma- or tab-separated.

use super::input::Input;
use super::{Take, malformed};
use crate::config::Ragged;
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::path::Path;

/// How a table is written.
pub struct Layout {
    pub delimiter: u8,
    pub quoting: bool,
    pub header: bool,
    pub ragged: Ragged,
}

/// One object a row, its entries named by the header, or by their numbers from 1. The rows that were left out.
pub fn rows(input: &mut Input, path: &Path, layout: &Layout, take: &mut Take<'_>) -> Result<usize> {
    let failed = |error: csv::Error| match (error.position().map(csv::Position::line), error.into_kind()) {
        (_, csv::ErrorKind::Io(source)) => Error::Io { path: path.to_owned(), source },
        (line, kind) => malformed(path, line.unwrap_or(1) as usize, describe(&kind, layout.header)),
    };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(layout.delimiter)
        .quoting(layout.quoting)
        .has_headers(layout.header)
        .flexible(layout.ragged == Ragged::Skip)
        .from_reader(input);
    let first = reader.headers().map_err(failed)?.clone();
    let names: Vec<_> = if layout.header {
        first.iter().map(ToOwned::to_owned).collect()
    } else {
        (1..=first.len()).map(|number| number.to_string()).collect()
    };
    let mut row = csv::StringRecord::new();
    let mut skipped = 0;
    while reader.read_record(&mut row).map_err(failed)? {
        if row.len() != names.len() {
            skipped += 1;
            continue;
        }
        let line = row.position().map_or(0, csv::Position::line) as usize;
        let object: Map<_, _> =
            names.iter().zip(&row).map(|(name, text)| (name.clone(), Value::from(text))).collect();
        take(line, &Value::Object(object), &[])?;
    }
    Ok(skipped)
}

fn describe(kind: &csv::ErrorKind, header: bool) -> String {
    match kind {
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!(
                "{len} columns where the {} has {expected_len}",
                if header { "header" } else { "first row" }
            )
        }
        other => format!("{other:?}"),
    }
}
