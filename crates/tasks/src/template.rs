//! Prompt and response templates: text with `{field}` places.

use crate::item::Fields;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// A template. `{name}` stands for the value of a field; `{{` and `}}` are braces.
///
/// ```
/// let template: tasks::Template = " question : {question} answer :".parse()?;
/// assert_eq!(template.fields().collect::<Vec<_>>(), ["question"]);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

impl Template {
    /// The names of the fields it uses, in order.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Field(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The fixed text between the fields.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Field(_) => None,
        })
    }

    /// The text with the values in place.
    ///
    /// # Errors
    /// The name of the first field that has no value.
    pub fn render(&self, fields: &Fields) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(fixed) => text.push_str(fixed),
                Part::Field(name) => text.push_str(fields.get(name).ok_or_else(|| name.clone())?),
            }
        }
        Ok(text)
    }
}

impl std::str::FromStr for Template {
    type Err = String;

    fn from_str(source: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut chars = source.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '{' | '}' if chars.peek() == Some(&c) => {
                    chars.next();
                    text.push(c);
                }
                '{' => {
                    let mut name = String::new();
                    loop {
                        match chars.next() {
                            Some('}') => break,
                            Some(c) if c.is_ascii_alphanumeric() || c == '_' => name.push(c),
                            _ => return Err(format!("`{{{name}` is not closed; a brace itself is `{{{{`")),
                        }
                    }
                    if name.is_empty() {
                        return Err("`{}` names no field".to_owned());
                    }
                    if !text.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut text)));
                    }
                    parts.push(Part::Field(name));
                }
                '}' => return Err("`}` closes nothing; a brace itself is `}}`".to_owned()),
                _ => text.push(c),
            }
        }
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.0 {
            match part {
                Part::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}"))?,
                Part::Field(name) => write!(f, "{{{name}}}")?,
            }
        }
        Ok(())
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::fields;

    #[test]
    fn renders_fields_and_braces() {
        let template: Template = "{{{a}}} {b}!".parse().unwrap();
        let values = fields([("a", "1".into()), ("b", "{x}".into())]);
        assert_eq!(template.render(&values).unwrap(), "{1} {x}!");
        assert_eq!(template.to_string(), "{{{a}}} {b}!");
        assert_eq!("{c}".parse::<Template>().unwrap().render(&values), Err("c".to_owned()));
    }

    #[test]
    fn malformed_templates_are_refused() {
        for bad in ["{", "a } b", "{}", "{a b}", "{a"] {
            assert!(bad.parse::<Template>().is_err(), "{bad}");
        }
    }
}
