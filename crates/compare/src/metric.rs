//! Metrics: what a score is called, under which rule it was made, and how it is measured from outcomes.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::outcome::{Outcome, Split};

/// Which way a metric improves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More is better.
    #[default]
    Higher,
    /// Less is better.
    Lower,
}

/// How a metric's value comes from the items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// Mean of the per-item scores; intervals and tests follow from them.
    #[default]
    Mean,
    /// A figure of the whole set (a correlation, a corpus-level score); it has no per-item scores and gets no interval.
    Corpus,
}

/// What a metric's numbers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Fractions of 1; tables print percent.
    #[default]
    Fraction,
    /// Anything else (bits per character, reward); printed as it is.
    Plain,
}

/// Name and rule of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Name, as in outcomes.
    pub name: String,
    /// Version of the scoring rule.
    pub version: String,
    /// Which way it improves.
    pub better: Better,
    /// What its numbers are.
    pub scale: Scale,
}

/// One metric of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricValue {
    /// Name, as in outcomes.
    pub name: String,
    /// Version of the scoring rule; values of different versions are never compared.
    pub version: String,
    /// The value.
    pub value: f64,
    /// Items that counted.
    pub items: Option<u64>,
    /// Which way it improves.
    pub better: Better,
    /// What its numbers are.
    pub scale: Scale,
    /// How it comes from the items.
    pub aggregate: Aggregate,
}

impl Metric {
    /// A fraction of which more is better.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into(), better: Better::Higher, scale: Scale::Fraction }
    }

    /// The mean score of the test items that count; `None` when none does.
    ///
    /// # Errors
    /// [`Error::Record`] when an item's score is not finite.
    pub fn measure(&self, outcomes: &[Outcome]) -> Result<Option<MetricValue>> {
        let (mut sum, mut items) = (0.0, 0);
        for outcome in outcomes.iter().filter(|o| o.split == Split::Test) {
            let Some(&score) = outcome.scores.get(&self.name) else { continue };
            if !score.is_finite() {
                return Err(Error::Record {
                    id: outcome.id.clone(),
                    reason: format!("the item's score for `{}` is `{score}`", self.name),
                });
            }
            sum += score;
            items += 1;
        }
        Ok((items > 0).then(|| MetricValue {
            name: self.name.clone(),
            version: self.version.clone(),
            value: sum / items as f64,
            items: Some(items),
            better: self.better,
            scale: self.scale,
            aggregate: Aggregate::Mean,
        }))
    }
}
