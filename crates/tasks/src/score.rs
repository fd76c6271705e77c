//! From answers to scores.
#![cfg_attr(test, allow(clippy::float_cmp, reason = "scores are exactly 0 or 1"))]

mod first_word;
mod functional;
mod number;
mod program;
mod refusal;

use crate::config::{Engine, Scoring};
use crate::item::Item;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The definition of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Rises whenever the definition changes.
    pub version: u32,
    /// Which end is good.
    pub better: Better,
    /// How the scores of items become one number.
    pub aggregate: Aggregate,
    /// What it says.
    pub description: &'static str,
}

/// Which end of a metric is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// How the scores of items become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// The mean over the items that have a score. Items of one cluster are not independent: an interval resamples
    /// clusters.
    Mean,
}

/// The scores of one item by metric, in [0, 1]. A metric the item does not count for is absent.
pub type Scores = BTreeMap<&'static str, f64>;

impl Metric {
    const fn fraction(name: &'static str, description: &'static str) -> Self {
        Self { name, version: 1, better: Better::Higher, aggregate: Aggregate::Mean, description }
    }

    /// The metric over items: the mean of the scores, or none where no item counts.
    pub fn value(&self, scores: &[Scores]) -> Option<f64> {
        let counted: Vec<_> = scores.iter().filter_map(|scores| scores.get(self.name)).collect();
        (!counted.is_empty()).then(|| counted.iter().copied().sum::<f64>() / counted.len() as f64)
    }
}

/// The metrics an engine computes.
pub fn metrics(engine: &Engine) -> &'static [Metric] {
    match engine {
        Engine::FirstWord { .. } => first_word::METRICS,
        Engine::Number { .. } => number::METRICS,
        Engine::Program { .. } => program::METRICS,
        Engine::RefusalPairs { .. } => refusal::METRICS,
        Engine::Functional { .. } => functional::METRICS,
    }
}

/// Judges answers by a task's scoring section.
#[derive(Debug, Clone)]
pub struct Scorer {
    metrics: Vec<Metric>,
    engine: Engine,
}

impl Scorer {
    /// The scorer of a checked task file.
    pub fn new(scoring: &Scoring) -> Self {
        let known = metrics(&scoring.engine);
        let find = |name: &str| known.iter().find(|metric| metric.name == name).copied();
        let metrics =
            scoring.metrics.iter().map(|metric| find(&metric.name).expect("a parsed file is checked"));
        Self { metrics: metrics.collect(), engine: scoring.engine.clone() }
    }

    /// The metrics the task reports, primary first.
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// Scores `outputs[i]`, the text a model wrote after the prompt of `items[i]`. A pure function of both: neither
    /// the order of items nor the size of a batch matters.
    ///
    /// # Errors
    /// [`Error::Scoring`] when there is not one output for each item, a gold answer is malformed, or a pair is not
    /// complete.
    pub fn score(&self, items: &[Item], outputs: &[String]) -> Result<Vec<Scores>> {
        if items.len() != outputs.len() {
            let reason = format!("{} outputs for {} items", outputs.len(), items.len());
            return Err(Error::Scoring { item: "all".to_owned(), reason });
        }
        let mut scores = match &self.engine {
            Engine::FirstWord { answer } => {
                each(items, outputs, |item, text| Ok(first_word::score(field(item, answer)?, text)))
            }
            Engine::Number { answer, answer_rules, rules, equality } => {
                let judge = number::Judge::new(answer_rules, rules, *equality);
                each(items, outputs, |item, text| judge.score(field(item, answer)?, text))
            }
            Engine::Program { answer, inputs, low, high, seed, step_limit } => {
                let judge = program::Judge {
                    inputs: *inputs,
                    range: *low..=*high,
                    seed: *seed,
                    step_limit: *step_limit,
                };
                each(items, outputs, |item, text| judge.score(field(item, answer)?, text))
            }
            Engine::RefusalPairs { role, answer, refusals } => {
                refusal::score(items, outputs, role, answer, refusals)
            }
            Engine::Functional { answer } => {
                each(items, outputs, |item, text| functional::score(field(item, answer)?, text))
            }
        }?;
        for scores in &mut scores {
            scores.retain(|name, _| self.metrics.iter().any(|metric| metric.name == *name));
        }
        Ok(scores)
    }
}

/// What types cannot say about an engine.
pub(crate) fn check(engine: &Engine) -> Result<(), crate::config::Problem> {
    match engine {
        Engine::Number { answer_rules, rules, .. } => number::check(answer_rules, rules),
        Engine::Program { inputs, low, high, .. } => program::check(*inputs, *low, *high),
        Engine::RefusalPairs { refusals, .. } => refusal::check(refusals),
        Engine::FirstWord { .. } | Engine::Functional { .. } => Ok(()),
    }
}

/// Scores items one by one; an error of one names it.
fn each(
    items: &[Item],
    outputs: &[String],
    mut score: impl FnMut(&Item, &str) -> Result<Scores, String>,
) -> Result<Vec<Scores>> {
    let one = |(item, text): (&Item, &String)| {
        score(item, text).map_err(|reason| Error::Scoring { item: item.id.clone(), reason })
    };
    items.iter().zip(outputs).map(one).collect()
}

fn field<'a>(item: &'a Item, name: &str) -> Result<&'a str, String> {
    item.fields.get(name).map(String::as_str).ok_or_else(|| format!("it has no field `{name}`"))
}

/// 1 or 0.
fn fraction(right: bool) -> f64 {
    f64::from(u8::from(right))
}
