//! `[prompt]`: how an item becomes text and which tokens count.

use crate::Template;
use serde::{Deserialize, Serialize};

/// Templates and the rules at their borders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// The prompt.
    pub template: Template,
    /// The second text of a pair, which encoders see behind a separator. Only for a task with a `head`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<Template>,
    /// The gold response, as the model should write it after the prompt.
    pub response: Template,
    /// Which tokens the loss counts.
    pub loss: Loss,
    /// The token before the prompt.
    pub bos: Bos,
    /// The token after the response.
    pub eos: Eos,
}

impl Prompt {
    /// Every template there is.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        std::iter::once(&self.template).chain(&self.second).chain(std::iter::once(&self.response))
    }
}

/// Which tokens the loss counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Those of the response and the end-of-sequence token.
    Response,
    /// All but the first.
    Full,
}

/// What stands before the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bos {
    /// The tokenizer's beginning-of-sequence token; it is an error if it has none.
    Prepend,
    /// Nothing.
    None,
}

/// What stands after the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Eos {
    /// The tokenizer's end-of-sequence token; it is an error if it has none.
    Append,
    /// Nothing.
    None,
}
