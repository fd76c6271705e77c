//! JSON: an array of objects, lists inside of objects, or one object a line.

use super::input::Input;
use super::{Take, malformed};
use crate::{Error, Result};
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fmt;
use std::io::{BufRead, Read};
use std::path::Path;
use std::rc::Rc;

/// One object a line; lines of white space are passed over.
pub fn lines(input: &mut Input, path: &Path, take: &mut Take<'_>) -> Result<()> {
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
        take(line, &value, &[])?;
    }
}

/// One array of objects, or what a dotted path of `records` leads to, an element of the outermost list at a time. The
/// line of a record is the one where that element ends.
pub fn records(input: &mut Input, path: &Path, records: Option<&str>, take: &mut Take<'_>) -> Result<()> {
    let lines = Rc::new(RefCell::new(1));
    let reader = Counted { input, line: Rc::clone(&lines) };
    let mut failure = None;
    let mut parser = serde_json::Deserializer::from_reader(reader);
    let way: Vec<_> = records.into_iter().flat_map(|records| records.split('.')).collect();
    let elements = Elements { path, way: &way, line: lines, take, failure: &mut failure };
    let outcome = elements.deserialize(&mut parser).and_then(|()| parser.end());
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

/// Walks along `way` to the outermost list, and from each of its elements on to the records.
struct Elements<'a, 't> {
    path: &'a Path,
    way: &'a [&'a str],
    line: Rc<RefCell<usize>>,
    take: &'a mut Take<'t>,
    failure: &'a mut Option<Error>,
}

impl<'de> DeserializeSeed<'de> for Elements<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // Said outright where it is known, so that the error names what is missing.
        match self.way {
            [] => deserializer.deserialize_seq(self),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Elements<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.way.first() {
            None => f.write_str("an array of objects"),
            Some(name) => write!(f, "an array, or an object with an entry `{name}`"),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { path, way, line, take, failure } = self;
        let (name, rest) = way.split_first().expect("without a way only a list is asked for");
        let mut found = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == *name {
                let line = Rc::clone(&line);
                map.next_value_seed(Elements {
                    path,
                    way: rest,
                    line,
                    take: &mut *take,
                    failure: &mut *failure,
                })?;
                found = true;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if found { Ok(()) } else { Err(de::Error::custom(format!("no entry `{name}`"))) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(value) = seq.next_element::<Value>()? {
            let line = *self.line.borrow();
            let mut take = |value: &Value, parents: &[&Value]| match value {
                Value::Object(_) => (self.take)(line, value, parents),
                Value::String(text) => (self.take)(line, &json!({ "text": text }), parents),
                _ => Err(malformed(self.path, line, "not a JSON object")),
            };
            let lost = |name: &str| malformed(self.path, line, format!("no list or object `{name}`"));
            if let Err(error) = descend(&value, self.way, &mut Vec::new(), &mut take, &lost) {
                *self.failure = Some(error);
                return Err(de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// The records below a value, with the objects around each.
fn descend<'v>(
    value: &'v Value,
    way: &[&str],
    parents: &mut Vec<&'v Value>,
    take: &mut dyn FnMut(&Value, &[&Value]) -> Result<()>,
    lost: &dyn Fn(&str) -> Error,
) -> Result<()> {
    let Some((name, rest)) = way.split_first() else { return take(value, parents) };
    parents.push(value);
    let below = match value.get(name) {
        Some(Value::Array(all)) => all.as_slice(),
        Some(inner @ Value::Object(_)) => std::slice::from_ref(inner),
        _ => return Err(lost(name)),
    };
    for value in below {
        descend(value, rest, parents, take, lost)?;
    }
    parents.pop();
    Ok(())
}
