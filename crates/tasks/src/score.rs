//! From answers to scores.
#![cfg_attr(test, allow(clippy::float_cmp, reason = "scores are exactly 0 or 1"))]

mod first_word;
mod functional;
mod number;
mod program;
mod refusal;
mod tests;

use crate::config::{Engine, Scoring};
use crate::item::Item;
use crate::{Error, Result};
use sandbox::{Permission, Sandbox};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::OnceLock;

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
        Engine::Tests { .. } => tests::METRICS,
    }
}

/// Judges answers by a task's scoring section.
#[derive(Debug, Clone)]
pub struct Scorer {
    metrics: Vec<Metric>,
    engine: Engine,
    permission: Permission,
    /// Made when it is first needed.
    sandbox: OnceLock<Sandbox>,
}

impl Scorer {
    /// The scorer of a checked task file.
    pub fn new(scoring: &Scoring) -> Self {
        let known = metrics(&scoring.engine);
        let find = |name: &str| known.iter().find(|metric| metric.name == name).copied();
        let metrics =
            scoring.metrics.iter().map(|metric| find(&metric.name).expect("a parsed file is checked"));
        Self {
            metrics: metrics.collect(),
            engine: scoring.engine.clone(),
            permission: Permission::Isolated,
            sandbox: OnceLock::new(),
        }
    }

    /// The same scorer, which may do with generated code what `permission` says.
    #[must_use]
    pub fn permit(self, permission: Permission) -> Self {
        Self { permission, sandbox: OnceLock::new(), ..self }
    }

    /// Whether this machine has what the engine needs; to be asked before a model is trained. Where the engine runs
    /// programs, this says what runs them, for the record: the interpreter and what guards it.
    ///
    /// # Errors
    /// [`Error::Sandbox`] where the engine runs programs and there is no Python, or nothing to isolate them and no
    /// permission to do without.
    pub fn check_environment(&self) -> Result<Option<String>> {
        if !matches!(self.engine, Engine::Tests { .. }) {
            return Ok(None);
        }
        let sandbox = self.sandbox()?;
        Ok(Some(format!("{} behind {}", sandbox.python().display(), sandbox.isolation())))
    }

    fn sandbox(&self) -> Result<&Sandbox> {
        if let Some(sandbox) = self.sandbox.get() {
            return Ok(sandbox);
        }
        let sandbox = Sandbox::new(self.permission)?;
        Ok(self.sandbox.get_or_init(|| sandbox))
    }

    /// The metrics the task reports, primary first.
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// Scores `outputs[i]`, the texts a model wrote after the prompt of `items[i]`: as many for each item as there are
    /// samples. A score is the mean over samples (for pairs, sample by sample of both halves); only `pass@k` looks at
    /// all samples at once. A pure function of items and outputs: neither the order of items nor the size of a batch
    /// matters.
    ///
    /// # Errors
    /// [`Error::Scoring`] when there is not one list of outputs for each item, lists are empty or of different
    /// lengths, a gold answer is malformed, or a pair is not complete; [`Error::Sandbox`] as
    /// [`Scorer::check_environment`], before any program has run.
    pub fn score(&self, items: &[Item], outputs: &[Vec<String>]) -> Result<Vec<Scores>> {
        let samples = samples(items, outputs)?;
        let mut scores =
            if let Engine::Tests { program, code, stop, timeout_seconds, memory_mb } = &self.engine {
                let judge = tests::Judge {
                    program,
                    code: *code,
                    stop,
                    timeout_seconds: *timeout_seconds,
                    memory_mb: *memory_mb,
                    metrics: &self.metrics,
                    sandbox: self.sandbox()?,
                };
                judge.score(items, outputs)?
            } else {
                let sample = |index: usize| {
                    let texts: Vec<_> = outputs.iter().map(|outputs| outputs[index].clone()).collect();
                    self.score_sample(items, &texts)
                };
                mean(&(0..samples).map(sample).collect::<Result<Vec<_>>>()?, items.len())
            };
        for scores in &mut scores {
            scores.retain(|name, _| self.metrics.iter().any(|metric| metric.name == *name));
        }
        Ok(scores)
    }

    /// One output for each item.
    fn score_sample(&self, items: &[Item], outputs: &[String]) -> Result<Vec<Scores>> {
        match &self.engine {
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
            Engine::Tests { .. } => unreachable!("all samples are scored at once"),
        }
    }
}

/// How many outputs every item has.
fn samples(items: &[Item], outputs: &[Vec<String>]) -> Result<usize> {
    let wrong = |item: &str, reason| Err(Error::Scoring { item: item.to_owned(), reason });
    if items.len() != outputs.len() {
        return wrong("all", format!("{} outputs for {} items", outputs.len(), items.len()));
    }
    let samples = outputs.first().map_or(1, Vec::len);
    match items.iter().zip(outputs).find(|(_, outputs)| outputs.is_empty() || outputs.len() != samples) {
        Some((item, outputs)) => {
            wrong(&item.id, format!("{} outputs where the first item has {samples}", outputs.len()))
        }
        None => Ok(samples),
    }
}

/// The mean over samples, item by item.
fn mean(samples: &[Vec<Scores>], items: usize) -> Vec<Scores> {
    let mut means = vec![Scores::new(); items];
    for (mean, index) in means.iter_mut().zip(0..) {
        for scores in samples.iter().map(|sample| &sample[index]) {
            for (name, score) in scores {
                *mean.entry(name).or_default() += score / samples.len() as f64;
            }
        }
    }
    means
}

/// What types cannot say about an engine.
pub(crate) fn check(engine: &Engine) -> Result<(), crate::config::Problem> {
    match engine {
        Engine::Number { answer_rules, rules, .. } => number::check(answer_rules, rules),
        Engine::Program { inputs, low, high, .. } => program::check(*inputs, *low, *high),
        Engine::RefusalPairs { refusals, .. } => refusal::check(refusals),
        Engine::Tests { program, timeout_seconds, memory_mb, .. } => {
            tests::check(program, *timeout_seconds, *memory_mb)
        }
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
