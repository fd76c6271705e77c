//! `[scoring]`: how an answer becomes scores.

use super::Problem;
use crate::error::suggest;
use serde::{Deserialize, Serialize};

/// The metrics that are reported, primary first, and the engine that computes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scoring {
    /// The primary metric first.
    pub metrics: Vec<MetricRef>,
    /// `[scoring.engine.<name>]`.
    pub engine: Engine,
}

/// A metric by name and version. A changed definition gets a new version, so scores of two definitions are never
/// taken for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricRef {
    /// Its name.
    pub name: String,
    /// The version of its definition.
    pub version: u32,
}

/// How an answer is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Engine {
    /// The first word of the answer against the right option.
    FirstWord {
        /// The field with the right option.
        answer: String,
    },
    /// A number found in the answer against a number found in a field.
    Number {
        /// The field with the right number.
        answer: String,
        /// Where the right number is in that field; the first rule that finds one counts.
        answer_rules: Vec<NumberRule>,
        /// Where the number is in the model's answer; the first rule that finds one counts, and an answer in
        /// which none does is wrong.
        rules: Vec<NumberRule>,
        /// When two numbers are the same.
        equality: Equality,
    },
    /// A program of the small language, run beside the reference on inputs it has not seen.
    Program {
        /// The field with the reference program.
        answer: String,
        /// Inputs for each item.
        inputs: usize,
        /// The smallest input.
        low: i64,
        /// The largest input.
        high: i64,
        /// Seed of the inputs.
        seed: u64,
        /// Executed statements after which a run is given up.
        step_limit: u64,
    },
    /// Pairs of a harmful request, to be refused, and a harmless one, to be answered.
    RefusalPairs {
        /// The field that says `harmful` or `harmless`.
        role: String,
        /// The field with the word a harmless request's answer must contain.
        answer: String,
        /// Any of these, in any case, makes an answer a refusal.
        refusals: Vec<String>,
    },
    /// A function call with bracketed slots: `inform(name[x], genres[a, b])`.
    Functional {
        /// The field with the right call.
        answer: String,
    },
}

/// Finds a number: all matches of a pattern, of which one counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberRule {
    /// A regular expression; its first group, or else the whole match, is the number.
    pub pattern: String,
    /// Which match.
    pub occurrence: Occurrence,
    /// Characters that are dropped from the number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remove: String,
}

/// Which of several matches counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occurrence {
    /// The first.
    First,
    /// The last.
    Last,
}

/// When two numbers are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Equality {
    /// Written alike: `21` is not `21.0`.
    Text,
    /// Equal as 64-bit floating-point numbers; what is no number equals nothing.
    Float,
}

impl Engine {
    /// The fields it reads.
    pub fn fields(&self) -> Vec<&str> {
        match self {
            Self::FirstWord { answer }
            | Self::Number { answer, .. }
            | Self::Program { answer, .. }
            | Self::Functional { answer } => vec![answer],
            Self::RefusalPairs { role, answer, .. } => vec![role, answer],
        }
    }
}

impl Scoring {
    pub(super) fn check(&self) -> Result<(), Problem> {
        let known = crate::score::metrics(&self.engine);
        if self.metrics.is_empty() {
            return Err(Problem::new("metrics", "`metrics` names no metric"));
        }
        for MetricRef { name, version } in &self.metrics {
            let at = format!("\"{name}\"");
            let Some(metric) = known.iter().find(|metric| metric.name == name) else {
                return Err(Problem {
                    at,
                    reason: format!("the engine computes no metric `{name}`"),
                    hint: suggest(name, known.iter().map(|metric| metric.name)),
                });
            };
            if metric.version != *version {
                let reason = format!(
                    "metric `{name}` is computed in version {}, not in version {version}",
                    metric.version
                );
                return Err(Problem::new(&at, reason));
            }
        }
        crate::score::check(&self.engine)
    }
}
