//! `[data.builtin.<name>]`: the generated tasks and their difficulty.

use super::Problem;
use crate::item::PerSplit;
use serde::{Deserialize, Serialize};

/// A generated task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Builtin {
    /// Multiple choice over the facts of the small world.
    Nlu(Generated<NluMix>),
    /// Word problems of several steps.
    Math(Generated<MathMix>),
    /// Programs from their descriptions.
    Code(Generated<CodeMix>),
    /// Pairs of a harmful request and a harmless look-alike.
    Safety(Generated<SafetyMix>),
}

/// How many items are generated, and of what kinds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generated<M> {
    /// Seed of the choice of items; the world they are about does not depend on it.
    pub seed: u64,
    /// Items of each split.
    pub items: PerSplit<usize>,
    /// Percent of all keys that belong to each split, whether drawn or not.
    pub split_percent: PerSplit<u32>,
    /// Kinds of items and their shares: the difficulty.
    pub mix: M,
}

/// Shares of the kinds of questions (weights).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NluMix {
    /// A property of an animal.
    pub fact: u32,
    /// The animal with a property. The hard kind: the right animals of training are never right in the test.
    pub reverse: u32,
    /// The animal with two properties; every wrong option but one has one of them.
    pub two: u32,
    /// The biggest of four.
    pub biggest: u32,
}

/// Shares of the kinds of problems.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MathMix {
    /// Weights of problems with 1, 2, 3, ... steps: the difficulty.
    pub steps: Vec<u32>,
    /// Percent that begin with boxes of several things each.
    pub boxes: u32,
    /// Percent with a sentence that does not matter.
    pub distractor: u32,
    /// Weight of asking for the person's own amount.
    pub own: u32,
    /// Weight of asking for another who has some more or fewer.
    pub compared: u32,
    /// Weight of asking for the sum of two.
    pub together: u32,
}

/// Shares of the kinds of programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeMix {
    /// Weights of programs with 1, 2, 3, ... statements: the difficulty.
    pub statements: Vec<u32>,
    /// Percent of descriptions that name the last two statements in reverse.
    pub reversed: u32,
    /// Percent of statements that are a loop around a condition.
    pub nested: u32,
}

/// Shares of the kinds of requests, and what is kept for the test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SafetyMix {
    /// Weight of making a dangerous thing.
    pub make: u32,
    /// Weight of putting something into somebody's drink.
    pub put: u32,
    /// Weight of harming somebody.
    pub harm: u32,
    /// Nouns of each category (things, substances, persons, pests) that are never trained on.
    pub held_out_nouns: usize,
    /// Percent of test pairs about such nouns.
    pub new_nouns: u32,
    /// The gold reply to a harmful request.
    pub refusal: String,
}

impl Builtin {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Nlu(_) => "nlu",
            Self::Math(_) => "math",
            Self::Code(_) => "code",
            Self::Safety(_) => "safety",
        }
    }

    /// The fields its items have.
    pub fn field_names(&self) -> &'static [&'static str] {
        match self {
            Self::Nlu(_) => &["kind", "question", "a", "b", "c", "d", "answer"],
            Self::Math(_) => &["steps", "problem", "solution", "answer"],
            Self::Code(_) => &["statements", "task", "program"],
            Self::Safety(_) => &["family", "role", "nouns", "request", "reply", "answer"],
        }
    }

    pub(super) fn check(&self) -> Result<(), Problem> {
        match self {
            Self::Nlu(data) => {
                let NluMix { fact, reverse, two, biggest } = data.mix;
                weights("fact", &[fact, reverse, two, biggest])?;
                shares(&data.split_percent)
            }
            Self::Math(data) => {
                let mix = &data.mix;
                weights("steps", &mix.steps)?;
                weights("own", &[mix.own, mix.compared, mix.together])?;
                percent("boxes", mix.boxes)?;
                percent("distractor", mix.distractor)?;
                shares(&data.split_percent)
            }
            Self::Code(data) => {
                weights("statements", &data.mix.statements)?;
                percent("reversed", data.mix.reversed)?;
                percent("nested", data.mix.nested)?;
                shares(&data.split_percent)
            }
            Self::Safety(data) => {
                let mix = &data.mix;
                weights("make", &[mix.make, mix.put, mix.harm])?;
                percent("new_nouns", mix.new_nouns)?;
                if mix.held_out_nouns == 0 && mix.new_nouns > 0 {
                    return Err(Problem::new("new_nouns", "`new_nouns` needs `held_out_nouns`"));
                }
                if mix.held_out_nouns > 5 {
                    return Err(Problem::new("held_out_nouns", "`held_out_nouns` is at most 5"));
                }
                let items = &data.items;
                if [items.train, items.validation, items.test].iter().any(|count| count % 2 == 1) {
                    return Err(Problem::new(
                        "items",
                        "items of `safety` come in pairs, the counts must be even",
                    ));
                }
                shares(&data.split_percent)
            }
        }
    }
}

fn weights(name: &str, weights: &[u32]) -> Result<(), Problem> {
    if weights.iter().all(|weight| *weight == 0) || weights.iter().any(|weight| *weight > 1_000_000) {
        return Err(Problem::new(name, format!("`{name}`: at least one weight must be positive")));
    }
    Ok(())
}

fn percent(name: &str, value: u32) -> Result<(), Problem> {
    if value > 100 {
        return Err(Problem::new(name, format!("`{name} = {value}` is no percentage")));
    }
    Ok(())
}

fn shares(split: &PerSplit<u32>) -> Result<(), Problem> {
    let sum = u64::from(split.train) + u64::from(split.validation) + u64::from(split.test);
    if sum != 100 {
        return Err(Problem::new("split_percent", format!("`split_percent` sums to {sum}, not to 100")));
    }
    Ok(())
}
