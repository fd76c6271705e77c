//! `[decoding]`: how a model answers.

use super::Problem;
use serde::{Deserialize, Serialize};

/// How an answer is generated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decoding {
    /// How the next token is chosen.
    pub strategy: Strategy,
    /// At most so many tokens.
    pub max_new_tokens: usize,
    /// The answer ends before the first of these texts.
    pub stop: Vec<String>,
    /// Answers to each item.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub samples: usize,
}

fn one() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_one(samples: &usize) -> bool {
    *samples == 1
}

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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
}

impl Decoding {
    pub(super) fn check(&self) -> Result<(), Problem> {
        if self.max_new_tokens == 0 {
            return Err(Problem::new("max_new_tokens", "`max_new_tokens` must be positive"));
        }
        if self.samples == 0 {
            return Err(Problem::new("samples", "`samples` must be positive"));
        }
        if self.samples > 1 && self.strategy == Strategy::Greedy {
            return Err(Problem::new("samples", "greedy decoding gives the same answer `samples` times"));
        }
        if let Strategy::Sample { temperature, top_p } = self.strategy
            && !(temperature > 0.0 && top_p > 0.0 && top_p <= 1.0)
        {
            return Err(Problem::new("strategy", "`temperature` must be positive and `top_p` in (0, 1]"));
        }
        Ok(())
    }
}
