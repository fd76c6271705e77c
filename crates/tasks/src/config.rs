//! Task files: everything that must be equal for the methods that are compared.

mod builtin;
mod data;
mod decoding;
mod prompt;
mod scoring;
mod training;

pub use builtin::{Builtin, CodeMix, Generated, MathMix, NluMix, SafetyMix};
pub use data::{Data, Files, Format, Rewrite, Source};
pub use decoding::{Decoding, Strategy};
pub use prompt::{Bos, Eos, Loss, Prompt};
pub(crate) use scoring::OUTPUT;
pub use scoring::{Code, Engine, Equality, MetricRef, NumberRule, Occurrence, Scoring};
pub use training::{
    Amount, Clip, ClipScope, Dtype, LastBatch, Order, Quantization, Reduction, Schedule, Select, Targets,
    Training, Truncation,
};

use crate::error::suggest;
use crate::parse::{from_toml, line_of};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// One task file.
///
/// Everything that decides a score is in it; the code holds no default for such a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskConfig {
    /// The task's name, kebab-case, the same as its file's.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// Where the items come from.
    pub data: Data,
    /// How an item becomes a prompt and a response.
    pub prompt: Prompt,
    /// How models are trained on it.
    pub training: Training,
    /// How they answer.
    pub decoding: Decoding,
    /// How answers are scored.
    pub scoring: Scoring,
}

impl TaskConfig {
    /// Reads a task file; `origin` names it in errors.
    ///
    /// # Errors
    /// [`Error::Config`] with line and nearest name where the text is not TOML, holds an unknown or misses a
    /// needed entry, or contradicts itself (a template that uses a field the data lack, a metric the engine does
    /// not compute, shares that do not sum to 100, ...).
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let config: Self = from_toml(text, origin)?;
        config.check().map_err(|problem| Error::Config {
            origin: origin.to_owned(),
            line: line_of(text, &problem.at),
            reason: problem.reason,
            hint: problem.hint,
        })?;
        Ok(config)
    }

    /// The same task with some entries replaced, each named by its path (`training.steps`) and given as TOML
    /// (`30`, `"last"`). A value that is no TOML is taken as a string.
    ///
    /// # Errors
    /// As [`TaskConfig::parse`]; the origin is then `origin`.
    pub fn with(&self, overrides: &[(&str, &str)], origin: &str) -> Result<Self> {
        let mut root = toml::Value::try_from(self).expect("a task file can be written as TOML");
        for (path, text) in overrides {
            let value =
                format!("v = {text}").parse().ok().and_then(|mut table: toml::Table| table.remove("v"));
            let value = value.unwrap_or_else(|| toml::Value::String((*text).to_owned()));
            insert(&mut root, path, value).map_err(|reason| Error::Config {
                origin: origin.to_owned(),
                line: None,
                reason,
                hint: None,
            })?;
        }
        let text = toml::to_string(&root).expect("TOML values can be written");
        Self::parse(&text, origin).map_err(|error| match error {
            // The text is ours: its lines say nothing to the user.
            Error::Config { origin, reason, hint, .. } => Error::Config { origin, line: None, reason, hint },
            other => other,
        })
    }

    /// The whole as TOML, as it goes into a record.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a task file can be written as TOML")
    }

    fn check(&self) -> Result<(), Problem> {
        self.data.check()?;
        self.training.check()?;
        self.decoding.check()?;
        self.scoring.check()?;
        self.scoring.check_samples(self.decoding.samples)?;
        let known = self.data.field_names();
        let templates = [&self.prompt.template, &self.prompt.response];
        let used =
            templates.iter().flat_map(|template| template.fields()).map(|name| (name, format!("{{{name}}}")));
        let scored = self.scoring.engine.fields().into_iter().map(|name| (name, format!("\"{name}\"")));
        for (name, at) in used.chain(scored) {
            if !known.iter().any(|k| k == name) {
                return Err(Problem {
                    at,
                    reason: format!("the data have no field `{name}`"),
                    hint: suggest(name, known.iter().map(String::as_str)),
                });
            }
        }
        Ok(())
    }
}

/// A contradiction in a file that is well-formed.
pub(crate) struct Problem {
    /// A text that occurs on the line in question.
    pub at: String,
    pub reason: String,
    pub hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(at: &str, reason: impl Into<String>) -> Self {
        Self { at: at.to_owned(), reason: reason.into(), hint: None }
    }
}

/// Puts a value at a dotted path; tables on the way are made, anything else there is an error.
fn insert(root: &mut toml::Value, path: &str, value: toml::Value) -> Result<(), String> {
    let mut at = root;
    let (parents, last) = path.rsplit_once('.').map_or((None, path), |(parents, last)| (Some(parents), last));
    for part in parents.into_iter().flat_map(|parents| parents.split('.')) {
        let table = at.as_table_mut().ok_or_else(|| format!("`{path}`: what holds `{part}` is no table"))?;
        at = table.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    }
    let table = at.as_table_mut().ok_or_else(|| format!("`{path}`: what holds `{last}` is no table"))?;
    table.insert(last.to_owned(), value);
    Ok(())
}
