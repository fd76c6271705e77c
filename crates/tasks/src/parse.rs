//! From TOML text to a value; every error knows its line and the nearest name.

use crate::error::suggest;
use crate::{Error, Result};
use serde::de::DeserializeOwned;

/// Reads a TOML text. `origin` names it in errors.
///
/// # Errors
/// [`Error::Config`] with the line and, for an unknown name, the nearest known one.
pub fn from_toml<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| Error::Config {
        origin: origin.to_owned(),
        line: error.span().map(|span| text[..span.start].matches('\n').count() + 1),
        reason: error.message().to_owned(),
        hint: nearest(error.message()),
    })
}

/// serde words an unknown name as "unknown field `x`, expected one of `a`, `b`", toml, inside an enum, as
/// "unexpected keys in table: x, available keys: a, b": the first name is the wrong one, the rest are the known ones.
fn nearest(message: &str) -> Option<String> {
    if let Some(names) = message.strip_prefix("unexpected keys in table: ") {
        let (wrong, known) = names.split_once(", available keys: ")?;
        return suggest(wrong.split(", ").next()?, known.split(", "));
    }
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let wrong = names.next()?;
    suggest(wrong, names)
}

/// The line, from 1, on which `needle` first occurs.
pub fn line_of(text: &str, needle: &str) -> Option<usize> {
    text.find(needle).map(|at| text[..at].matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Outer {
        engine: Engine,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    #[expect(dead_code, reason = "only parsed")]
    enum Engine {
        Number(Number),
        Functional {},
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Number {
        pattern: String,
        #[serde(default)]
        remove: String,
    }

    fn error(text: &str) -> String {
        let error = from_toml::<Outer>(text, "x.toml").unwrap_err();
        format!("{error} | {}", error.hint().unwrap_or_default())
    }

    #[test]
    fn typos_have_line_and_nearest_name_at_every_depth() {
        assert_eq!(
            error("\n[engine.number]\npattern = \"a\"\nremov = \"b\"\n"),
            "`x.toml` line 4: unknown field `remov`, expected `pattern` or `remove` | did you mean `remove`?"
        );
        assert_eq!(
            error("# c\n[engine.numbr]\npattern = \"a\"\n"),
            "`x.toml` line 2: unknown variant `numbr`, expected `number` or `functional` | did you mean `number`?"
        );
        assert!(error("engine = {number = {pattern = 3}}").starts_with("`x.toml` line 1: invalid type"));
        assert!(error("\n\nengine = [").starts_with("`x.toml` line 3: "));
    }
}
