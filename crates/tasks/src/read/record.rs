//! One record of a file, and its fields as text.

use crate::error::suggest;
use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// One record of a file, and where it stands.
pub struct Record<'a> {
    pub path: &'a Path,
    pub line: usize,
    pub value: &'a Value,
    /// The objects around it, the outermost first.
    pub parents: &'a [&'a Value],
}

impl Record<'_> {
    /// The text of a field: the entry of that name, else what the dotted path leads to (a number is a place in a list,
    /// `*` all of them, a leading `^` the enclosing object). Numbers and truth values are written out, lists and
    /// objects as JSON.
    ///
    /// # Errors
    /// [`Error::Record`] when there is none, or it is null.
    pub fn text(&self, field: &str) -> Result<String> {
        let (mut at, mut parents, mut rest) = (self.value, self.parents, field);
        while let Some(inner) = rest.strip_prefix("^.") {
            let Some((parent, outer)) = parents.split_last() else {
                return Err(self.error(format!("no object encloses the one of field `{field}`"), None));
            };
            (at, parents, rest) = (parent, outer, inner);
        }
        match at.get(rest).cloned().or_else(|| follow(at, rest)) {
            Some(Value::String(text)) => Ok(text),
            Some(Value::Null) => Err(self.error(format!("nothing in field `{field}`"), None)),
            None => {
                let present = at.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
                Err(self.error(format!("no field `{field}`"), suggest(rest, present)))
            }
            Some(other) => Ok(other.to_string()),
        }
    }

    /// An error at this record.
    pub fn error(&self, reason: String, hint: Option<String>) -> Error {
        Error::Record { path: self.path.to_owned(), line: self.line, reason, hint }
    }
}

/// What a dotted path leads to.
fn follow(value: &Value, path: &str) -> Option<Value> {
    let (part, rest) = path.split_once('.').map_or((path, None), |(part, rest)| (part, Some(rest)));
    let on = |value: &Value| rest.map_or_else(|| Some(value.clone()), |rest| follow(value, rest));
    match (value, part.parse::<usize>()) {
        (Value::Array(all), _) if part == "*" => all.iter().map(on).collect::<Option<_>>().map(Value::Array),
        (Value::Array(all), Ok(index)) => all.get(index).and_then(on),
        _ => value.get(part).and_then(on),
    }
}
