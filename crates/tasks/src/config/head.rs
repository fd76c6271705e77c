//! `head`: what stands on top of the model instead of its vocabulary.

use super::Problem;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// `head = { classes = ["0", "1"] }`, `"value"` or `"span"`. A task without one is for a language model that writes.
///
/// Whatever the head, an answer is a text: the name of the class, the number, the span. So a prompt is encoded as
/// `template`, or as the pair of `template` and `second`; `response` is the gold answer as text, and `loss` and `eos`
/// have no meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// One of these classes, by cross-entropy. The order is that of the logits.
    Classes(Vec<String>),
    /// A real number, by squared error.
    Value,
    /// Where an answer begins and ends in `prompt.second`, by the mean of two cross-entropies.
    Span(Span),
}

/// The fields behind the gold spans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// The field with a JSON list of gold texts; `[]` where there is no answer.
    pub answers: String,
    /// The field with a JSON list of where each begins in `prompt.second`, in characters from 0.
    pub starts: String,
}

impl Head {
    /// The fields it reads.
    pub fn fields(&self) -> Vec<&str> {
        match self {
            Self::Span(Span { answers, starts }) => vec![answers, starts],
            Self::Classes(_) | Self::Value => Vec::new(),
        }
    }

    pub(super) fn check(&self) -> Result<(), Problem> {
        let Self::Classes(classes) = self else { return Ok(()) };
        if classes.len() < 2 {
            return Err(Problem::new("classes", "`classes` needs at least two"));
        }
        let mut seen = BTreeSet::new();
        match classes.iter().find(|class| !seen.insert(*class)) {
            Some(twice) => Err(Problem::new("classes", format!("`classes` has `{twice}` twice"))),
            None => Ok(()),
        }
    }
}
