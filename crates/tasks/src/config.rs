//! Task files: everything that must be equal for the methods that are compared.

mod builtin;
mod data;
mod decoding;
mod format;
mod head;
mod hub;
mod preset;
mod prompt;
mod scoring;
mod source;
mod training;

pub use builtin::{Builtin, CodeMix, Generated, MathMix, NluMix, SafetyMix};
pub use data::{Data, Files, Rewrite};
pub use decoding::{AnswerBatch, Decoding, Judged, Normalize, Strategy};
pub use format::{Documents, Format, Ragged};
pub use head::{Head, SpanHead};
pub use hub::{Hub, Parts};
pub use prompt::{Bos, Eos, Loss, Prompt};
pub(crate) use scoring::OUTPUT;
pub use scoring::{Code, Engine, Equality, ExtractRule, MetricRef, Occurrence, Scoring};
pub use source::{Filter, Group, Leaked, SamePrompt, Source};
pub use training::{
    Amount, Clip, ClipScope, Dtype, LastBatch, Order, Quantization, Reduction, Schedule, Select, Targets,
    Training, Truncation,
};

use crate::error::suggest;
use crate::parse::{from_toml, line_of};
use crate::{Error, Result, Template};
use indexmap::IndexMap;
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
    /// What stands on top of the model; a language model that writes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
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
    /// Changes that make another task of it, as `reference`, the one of a paper: see [`TaskConfig::preset`]. Not
    /// written: a record is of one task.
    #[serde(default, skip_serializing)]
    pub presets: IndexMap<String, toml::Table>,
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

    /// The task as TOML, as it goes into a record: all but its presets.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a task file can be written as TOML")
    }

    fn check_selection(&self) -> Result<(), Problem> {
        let Data::Files(files) = &self.data else { return Ok(()) };
        if files.splits.validation == Source::None && self.training.select == Select::BestValidation {
            return Err(Problem::new("select", "`best_validation` needs a validation split"));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Problem> {
        self.data.check()?;
        self.check_selection()?;
        self.training.check()?;
        self.head.iter().try_for_each(Head::check)?;
        if let (Some(Head::Classes(classes)), Engine::Label { classes: known, .. }) =
            (&self.head, &self.scoring.engine)
            && let Some(class) = classes.iter().find(|class| !known.contains(class))
        {
            return Err(Problem::new("head", format!("the engine knows no class `{class}`")));
        }
        if self.head.is_none() && self.prompt.second.is_some() {
            return Err(Problem::new("second", "`second` needs a `head`: a language model reads one text"));
        }
        if matches!(self.head, Some(Head::Span(_))) && self.prompt.second.is_none() {
            return Err(Problem::new("span", "a `span` is a part of `prompt.second`, which is absent"));
        }
        self.decoding.check()?;
        self.scoring.check()?;
        self.scoring.check_samples(self.decoding.samples)?;
        let known = self.data.field_names();
        let used = self
            .prompt
            .templates()
            .chain(self.decoding.strategy.options())
            .flat_map(Template::fields)
            .map(|name| (name, format!("{{{name}}}")));
        let read = self.head.iter().flat_map(Head::fields).chain(self.scoring.engine.fields());
        for (name, at) in used.chain(read.map(|name| (name, format!("\"{name}\"")))) {
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
