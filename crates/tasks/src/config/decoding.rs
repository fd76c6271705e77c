//! `[decoding]`: how a model answers.

use super::{LastBatch, Problem};
use crate::Template;
use serde::{Deserialize, Serialize};

/// How an answer is generated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decoding {
    /// How the next token is chosen.
    pub strategy: Strategy,
    /// At most so many tokens.
    pub max_new_tokens: usize,
    /// Answers to each item.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub samples: usize,
    /// The answer ends before the first of these texts.
    pub stop: Vec<String>,
    /// What scoring is given. Some references' rules also see the prompt; then so does this one's.
    #[serde(default, skip_serializing_if = "Judged::is_answer")]
    pub judged: Judged,
    /// The prompts that are answered together. When absent their number is chosen by what memory holds and every item
    /// is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<AnswerBatch>,
}

/// What scoring is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judged {
    /// What the model wrote.
    #[default]
    Answer,
    /// The prompt and what the model wrote, as one text.
    PromptAndAnswer,
}

/// Batches of prompts, in the order of the items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerBatch {
    /// Prompts of one batch.
    pub size: usize,
    /// What happens to the last one when it is not full. Items that are dropped are not scored: of 1,319 items 39 are
    /// missing with batches of 64. It is here to compare with published scores that lack them.
    pub last: LastBatch,
}

impl AnswerBatch {
    /// How many of `items` are answered.
    pub fn answered(self, items: usize) -> usize {
        match self.last {
            LastBatch::Keep => items,
            LastBatch::Drop => items - items % self.size,
        }
    }
}

impl Judged {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    fn is_answer(&self) -> bool {
        *self == Self::Answer
    }
}

fn once() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_once(samples: &usize) -> bool {
    *samples == 1
}

/// How the next token is chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Strategy {
    /// The most probable one.
    Greedy,
    /// Drawn from the tempered distribution, cut to its nucleus.
    Sample {
        /// Divides the logits; positive.
        temperature: f64,
        /// Probability mass of the nucleus, in (0, 1].
        top_p: f64,
    },
    /// The best of several continuations that are followed at a time.
    Beams {
        /// How many; positive.
        count: usize,
        /// Scores are log p / nᵅ for n tokens; above 0 long answers are preferred.
        length_penalty: f64,
    },
    /// Nothing is written: the answer is the likeliest of these texts after the prompt.
    Likelihood {
        /// The texts; those that are empty for an item are none of its options.
        options: Vec<Template>,
        /// What log p is divided by.
        normalize: Normalize,
    },
    /// Nothing is written: the item's own response is read, and the answer says how likely it was.
    Reading,
}

/// What the log-likelihood of an option is divided by, so that long ones are not at a disadvantage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    /// Nothing.
    None,
    /// Its tokens.
    Tokens,
    /// Its characters.
    Characters,
}

impl Strategy {
    /// The templates of the texts it chooses from.
    pub fn options(&self) -> &[Template] {
        match self {
            Self::Likelihood { options, .. } => options,
            _ => &[],
        }
    }
}

impl Decoding {
    /// One answer to each prompt, which alone is judged.
    pub fn new(strategy: Strategy, max_new_tokens: usize, stop: Vec<String>) -> Self {
        Self { strategy, max_new_tokens, samples: 1, stop, judged: Judged::Answer, batch: None }
    }

    pub(super) fn check(&self) -> Result<(), Problem> {
        if self.max_new_tokens == 0 {
            return Err(Problem::new("max_new_tokens", "`max_new_tokens` must be positive"));
        }
        if self.samples == 0 {
            return Err(Problem::new("samples", "`samples` must be positive"));
        }
        if self.batch.is_some_and(|batch| batch.size == 0) {
            return Err(Problem::new("batch", "`size` must be positive"));
        }
        if self.samples > 1 && !matches!(self.strategy, Strategy::Sample { .. }) {
            return Err(Problem::new("samples", "only `{ sample = … }` gives answers that differ"));
        }
        let wrong = |reason: &str| Err(Problem::new("strategy", reason));
        match &self.strategy {
            Strategy::Sample { temperature, top_p }
                if !(*temperature > 0.0 && *top_p > 0.0 && *top_p <= 1.0) =>
            {
                wrong("`temperature` must be positive and `top_p` in (0, 1]")
            }
            Strategy::Beams { count: 0, .. } => wrong("`count` must be positive"),
            Strategy::Likelihood { options, .. } if options.len() < 2 => {
                wrong("`options` must hold two texts at least")
            }
            _ => Ok(()),
        }
    }
}
