//! JSON: one array of objects, or one object a line.

use super::input::Input;
use super::malformed;
use crate::{Error, Result};
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::Value;
use std::cell::RefCell;
use std::fmt;
use std::io::{BufRead, Read};
use std::path::Path;
use std::rc::Rc;

/// One object a line; lines of white space are passed over.
pub fn lines(input: &mut Input, path: &Path, take: &mut dyn FnMut(usize, Value) -> Result<()>) -> Result<()> {
    let mut bytes = Vec::new();
    loop {
        let line = input.line();
        bytes.clear();
        let count = input
            .read_until(b'\n', &mut bytes)
            .map_err(|source| Error::Io { path: path.to_owned(), source })?;
        if count == 0 {
            return Ok(());
        }
        let text =
            std::str::from_utf8(&bytes).map_err(|error| malformed(path, line, error.to_string()))?.trim_end();
        if text.is_empty() {
            continue;
        }
        let value: Value = serde_json::from_str(text).map_err(|error| {
            malformed(path, line, format!("{} (column {})", reason(&error), error.column()))
        })?;
        if !value.is_object() {
            return Err(malformed(path, line, "not a JSON object"));
        }
        take(line, value)?;
    }
}

/// One array of objects, an element at a time.
pub fn array(input: &mut Input, path: &Path, take: &mut dyn FnMut(usize, Value) -> Result<()>) -> Result<()> {
    let lines = Rc::new(RefCell::new(1));
    let reader = Counted { input, line: Rc::clone(&lines) };
    let mut failure = None;
    let mut parser = serde_json::Deserializer::from_reader(reader);
    let elements = Elements { path, line: lines, take, failure: &mut failure };
    let outcome = parser.deserialize_seq(elements).and_then(|()| parser.end());
    match (failure, outcome) {
        (Some(error), _) => Err(error),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) => Err(malformed(path, error.line(), reason(&error))),
    }
}

/// serde_json's message without the position, which is said before it.
fn reason(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message.rsplit_once(" at line ").map_or(message.clone(), |(reason, _)| reason.to_owned())
}

/// Lets the visitor see the line the parser is at.
struct Counted<'a> {
    input: &'a mut Input,
    line: Rc<RefCell<usize>>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.input.read(buffer)?;
        *self.line.borrow_mut() = self.input.line();
        Ok(count)
    }
}

struct Elements<'a> {
    path: &'a Path,
    line: Rc<RefCell<usize>>,
    take: &'a mut dyn FnMut(usize, Value) -> Result<()>,
    failure: &'a mut Option<Error>,
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(value) = seq.next_element::<Value>()? {
            let line = *self.line.borrow();
            let taken = if value.is_object() {
                (self.take)(line, value)
            } else {
                Err(malformed(self.path, line, "not a JSON object"))
            };
            if let Err(error) = taken {
                *self.failure = Some(error);
                return Err(serde::de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}
