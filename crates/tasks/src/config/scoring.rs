//! `[scoring]`: how an answer becomes scores.

use super::Problem;
use crate::Template;
use crate::error::suggest;
use serde::{Deserialize, Serialize};

/// The metrics that are reported, primary first, and the engine that computes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Engine {
    /// The first word of the answer against the right option.
    FirstWord {
        /// The field with the right option.
        answer: String,
    },
    /// The whole answer against the right option.
    Option {
        /// The field with the right option.
        answer: String,
    },
    /// What rules find in the answer, a number or an option, against what they find in a field.
    #[serde(alias = "number")]
    Extract {
        /// The field with the right answer.
        answer: String,
        /// Where the right answer is in that field; the first rule that finds one counts.
        answer_rules: Vec<ExtractRule>,
        /// Where it is in the model's answer; the first rule that finds one counts, and an answer in which none
        /// does is wrong.
        rules: Vec<ExtractRule>,
        /// When two are the same.
        equality: Equality,
    },
    /// The last `\boxed{..}` of the answer, or what follows its last `answer is`, by the rules of the MATH data.
    Math {
        /// The field with the right answer, or with a solution that boxes it.
        answer: String,
    },
    /// The name of one of several classes.
    Label {
        /// The field with the right name.
        answer: String,
        /// All names, in the order of a classifier's outputs. Of two, F1 is that of the second.
        classes: Vec<String>,
    },
    /// A number on a scale, judged by correlation.
    Value {
        /// The field with the right number.
        answer: String,
    },
    /// A span of a text, or nothing, by the rules of SQuAD.
    Span {
        /// The field with a JSON list of the gold texts; an empty list where no answer exists.
        answers: String,
    },
    /// Generated text by the words it shares with references.
    Overlap {
        /// The field with the reference, a text, or with several, a JSON list of texts.
        references: String,
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
    /// Whether a request is refused.
    Refusal {
        /// Any of these makes an answer a refusal.
        refusals: Vec<String>,
        /// Whether upper and lower case are the same in them.
        #[serde(default = "ignored")]
        ignore_case: bool,
        /// The field that says `harmful` or `harmless`, for the metrics that tell them apart.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
    },
    /// A query of a data base against the right one, as text.
    Sql {
        /// The field with the right query.
        answer: String,
    },
    /// What a text costs a language model. The answer says it: `12.5 nats, 30 tokens, 124 characters`.
    Perplexity {},
    /// A function call with bracketed slots: `inform(name[x], genres[a, b])`.
    Functional {
        /// The field with the right call.
        answer: String,
    },
    /// A Python program made of the answer and its tests, run in a sandbox: it passes if it comes to its end.
    Tests {
        /// The program: `{output}` is the code of the answer, every other name a field.
        program: Template,
        /// What of an answer is code.
        code: Code,
        /// The code ends before the first of these texts.
        stop: Vec<String>,
        /// Processor time of a program. On the clock it gets four times as long, so that a busy machine decides nothing.
        timeout_seconds: u64,
        /// Its memory in MiB, of which the interpreter needs about 30.
        memory_mb: u64,
    },
}

/// What of an answer is code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// All of it.
    Whole,
    /// What stands between the first ``` (and what follows on its line) and the next; all where there is none.
    Fenced,
    /// What stands after `[BEGIN]` and before `[DONE]`, either of which may be missing.
    BeginDone,
}

fn ignored() -> bool {
    true
}

/// Finds a number or an option: all matches of a pattern, of which one counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtractRule {
    /// A regular expression; its first group, or else the whole match, is what is found.
    pub pattern: String,
    /// Which match.
    pub occurrence: Occurrence,
    /// Characters that are dropped from it.
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

/// When what is found is the right one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Equality {
    /// Written alike: `21` is not `21.0`.
    Text,
    /// Written alike but for case and white space at the ends.
    Folded,
    /// Equal as 64-bit floating-point numbers; what is no number equals nothing.
    Float,
    /// Numbers that differ by no more than this; what is no number equals nothing.
    Close(f64),
}

/// The place of the answer's code in the program of [`Engine::Tests`].
pub(crate) const OUTPUT: &str = "output";

impl Engine {
    /// The fields it reads.
    pub fn fields(&self) -> Vec<&str> {
        match self {
            Self::FirstWord { answer }
            | Self::Option { answer }
            | Self::Extract { answer, .. }
            | Self::Math { answer }
            | Self::Label { answer, .. }
            | Self::Value { answer }
            | Self::Program { answer, .. }
            | Self::Sql { answer }
            | Self::Functional { answer } => vec![answer],
            Self::Span { answers } => vec![answers],
            Self::Overlap { references } => vec![references],
            Self::RefusalPairs { role, answer, .. } => vec![role, answer],
            Self::Refusal { role, .. } => role.iter().map(String::as_str).collect(),
            Self::Perplexity {} => Vec::new(),
            Self::Tests { program, .. } => program.fields().filter(|name| *name != OUTPUT).collect(),
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
        crate::score::check(self)
    }

    /// Whether so many answers to an item are enough for every `pass@k`.
    pub(super) fn check_samples(&self, samples: usize) -> Result<(), Problem> {
        let known = crate::score::metrics(&self.engine);
        for MetricRef { name, .. } in &self.metrics {
            let mean = known.iter().any(|m| m.name == name && m.aggregate == crate::score::Aggregate::Mean);
            if samples > 1 && !mean {
                let reason =
                    format!("`{name}` is no mean, so it has no meaning over several samples of an item");
                return Err(Problem::new(&format!("\"{name}\""), reason));
            }
            if let Some(k) = name.strip_prefix("pass@").and_then(|k| k.parse::<usize>().ok())
                && k > samples
            {
                let reason =
                    format!("`{name}` needs {k} samples of each item, and `decoding.samples` is {samples}");
                return Err(Problem::new(&format!("\"{name}\""), reason));
            }
        }
        Ok(())
    }
}
