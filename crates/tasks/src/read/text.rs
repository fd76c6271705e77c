//! Plain text, cut into documents.

use super::input::Input;
use super::{Take, malformed};
use crate::config::Documents;
use crate::{Error, Result};
use serde_json::json;
use std::io::{BufRead, Read};
use std::path::Path;

/// Each document that is not blank, as the field `text`.
pub fn documents(input: &mut Input, path: &Path, cut: &Documents, take: &mut Take<'_>) -> Result<()> {
    match cut {
        Documents::Lines => loop {
            let line = input.line();
            let mut bytes = Vec::new();
            if input.read_until(b'\n', &mut bytes).map_err(|source| failed(path, source))? == 0 {
                return Ok(());
            }
            document(utf8(path, line, &bytes)?.trim_end_matches(['\n', '\r']), line, take)?;
        },
        Documents::File => document(&whole(input, path)?, 1, take),
        Documents::Separator(separator) => {
            let text = whole(input, path)?;
            let mut line = 1;
            for part in text.split(separator.as_str()) {
                document(part, line, take)?;
                line += part.matches('\n').count() + separator.matches('\n').count();
            }
            Ok(())
        }
    }
}

fn document(text: &str, line: usize, take: &mut Take<'_>) -> Result<()> {
    if text.trim().is_empty() {
        return Ok(());
    }
    take(line, &json!({ "text": text }), &[])
}

/// A separator may lie across any border, so the whole text is held.
fn whole(input: &mut Input, path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).map_err(|source| failed(path, source))?;
    let line =
        |error: &std::str::Utf8Error| bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(malformed(path, line(&error), error.to_string())),
    }
}

fn utf8<'a>(path: &Path, line: usize, bytes: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|error| malformed(path, line, error.to_string()))
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::Io { path: path.to_owned(), source }
}
