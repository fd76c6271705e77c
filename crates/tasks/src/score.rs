//! From answers to scores.
#![cfg_attr(test, allow(clippy::float_cmp, reason = "scores are exactly 0 or 1"))]

mod bleu;
mod extract;
mod first_word;
mod functional;
mod label;
mod math;
mod metric;
mod option;
mod overlap;
mod perplexity;
mod program;
mod refusal;
mod refusal_pairs;
mod rouge;
mod span;
mod sql;
mod statistic;
mod tests;
mod value;
mod words;

pub use metric::{Aggregate, Better, Metric, Scores};

use crate::config::{Engine, Scoring};
use crate::item::Item;
use crate::{Error, Result};
use sandbox::{Permission, Sandbox};
use std::sync::OnceLock;

/// The metrics an engine computes.
pub fn metrics(engine: &Engine) -> &'static [Metric] {
    match engine {
        Engine::FirstWord { .. } => first_word::METRICS,
        Engine::Option { .. } => option::METRICS,
        Engine::Extract { .. } => extract::METRICS,
        Engine::Math { .. } => math::METRICS,
        Engine::Label { .. } => label::METRICS,
        Engine::Value { .. } => value::METRICS,
        Engine::Span { .. } => span::METRICS,
        Engine::Overlap { .. } => overlap::METRICS,
        Engine::Program { .. } => program::METRICS,
        Engine::RefusalPairs { .. } => refusal_pairs::METRICS,
        Engine::Refusal { .. } => refusal::METRICS,
        Engine::Sql { .. } => sql::METRICS,
        Engine::Perplexity {} => perplexity::METRICS,
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
            scores.retain(|name, _| self.metrics.iter().any(|metric| metric.columns().contains(name)));
        }
        Ok(scores)
    }

    /// One output for each item.
    fn score_sample(&self, items: &[Item], outputs: &[String]) -> Result<Vec<Scores>> {
        match &self.engine {
            Engine::FirstWord { answer } => {
                each(items, outputs, |item, text| Ok(first_word::score(field(item, answer)?, text)))
            }
            Engine::Option { answer } => {
                each(items, outputs, |item, text| Ok(option::score(field(item, answer)?, text)))
            }
            Engine::Extract { answer, answer_rules, rules, equality } => {
                let judge = extract::Judge::new(answer_rules, rules, *equality);
                each(items, outputs, |item, text| judge.score(field(item, answer)?, text))
            }
            Engine::Math { answer } => {
                each(items, outputs, |item, text| Ok(math::score(field(item, answer)?, text)))
            }
            Engine::Label { answer, classes } => {
                each(items, outputs, |item, text| label::score(classes, field(item, answer)?, text))
            }
            Engine::Value { answer } => {
                each(items, outputs, |item, text| value::score(field(item, answer)?, text))
            }
            Engine::Span { answers } => {
                each(items, outputs, |item, text| span::score(field(item, answers)?, text))
            }
            Engine::Overlap { references } => {
                each(items, outputs, |item, text| overlap::score(field(item, references)?, text))
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
                refusal_pairs::score(items, outputs, role, answer, refusals)
            }
            Engine::Refusal { refusals, ignore_case, role } => {
                let judge = refusal::Judge::new(refusals, *ignore_case);
                each(items, outputs, |item, text| judge.score(item, role.as_deref(), text))
            }
            Engine::Sql { answer } => {
                each(items, outputs, |item, text| Ok(sql::score(field(item, answer)?, text)))
            }
            Engine::Perplexity {} => each(items, outputs, |_, text| perplexity::score(text)),
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

/// What types cannot say about an engine and its metrics.
pub(crate) fn check(scoring: &Scoring) -> Result<(), crate::config::Problem> {
    let mut metrics = scoring.metrics.iter().map(|metric| metric.name.as_str());
    match &scoring.engine {
        Engine::Extract { answer_rules, rules, equality, .. } => {
            extract::check(answer_rules, rules, *equality)
        }
        Engine::Label { classes, .. } => label::check(classes, metrics.any(|name| name == "f1")),
        Engine::Tests { program, timeout_seconds, memory_mb, .. } => {
            tests::check(program, *timeout_seconds, *memory_mb)
        }
        Engine::Program { inputs, low, high, .. } => program::check(*inputs, *low, *high),
        Engine::RefusalPairs { refusals, .. } => refusal::check(refusals, None, []),
        Engine::Refusal { refusals, role, .. } => refusal::check(refusals, role.as_deref(), metrics),
        Engine::FirstWord { .. }
        | Engine::Option { .. }
        | Engine::Math { .. }
        | Engine::Value { .. }
        | Engine::Span { .. }
        | Engine::Overlap { .. }
        | Engine::Sql { .. }
        | Engine::Perplexity {}
        | Engine::Functional { .. } => Ok(()),
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
