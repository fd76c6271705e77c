//! Metrics: what a score is called, under which rule it was made, and how it is measured from outcomes.

use serde::{Deserialize, Serialize};

use crate::columns;
use crate::error::{Error, Result};
use crate::outcome::{Outcome, Split};
use crate::stats::{Sample, Statistic};

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
    /// A figure of the whole set that somebody else computed; it has no per-item scores and gets no interval.
    Corpus,
    /// [`Statistic::Matthews`].
    Matthews,
    /// [`Statistic::F1`].
    F1,
    /// [`Statistic::Pearson`].
    Pearson,
    /// [`Statistic::Spearman`].
    Spearman,
    /// [`Statistic::Bleu`].
    Bleu,
    /// [`Statistic::Perplexity`].
    Perplexity,
    /// [`Statistic::BitsPerCharacter`].
    BitsPerCharacter,
    /// [`Statistic::NatsPerToken`].
    NatsPerToken,
}

impl Aggregate {
    /// The statistic of columns that the items have, for all but the mean and what somebody else computed.
    pub fn statistic(self) -> Option<Statistic> {
        match self {
            Self::Mean | Self::Corpus => None,
            Self::Matthews => Some(Statistic::Matthews),
            Self::F1 => Some(Statistic::F1),
            Self::Pearson => Some(Statistic::Pearson),
            Self::Spearman => Some(Statistic::Spearman),
            Self::Bleu => Some(Statistic::Bleu),
            Self::Perplexity => Some(Statistic::Perplexity),
            Self::BitsPerCharacter => Some(Statistic::BitsPerCharacter),
            Self::NatsPerToken => Some(Statistic::NatsPerToken),
        }
    }

    /// Direction and scale, where the statistic leaves no choice.
    fn fixed(self) -> Option<(Better, Scale)> {
        self.statistic().map(|statistic| match statistic {
            Statistic::Perplexity | Statistic::BitsPerCharacter | Statistic::NatsPerToken => {
                (Better::Lower, Scale::Plain)
            }
            _ => (Better::Higher, Scale::Fraction),
        })
    }

    /// What is impossible about a metric made so, if anything.
    pub(crate) fn conflict(self, better: Better, scale: Scale) -> Option<String> {
        let (fixed_better, fixed_scale) = self.fixed().filter(|&fixed| fixed != (better, scale))?;
        Some(format!(
            "its aggregate `{self:?}` is {fixed_better:?} and {fixed_scale:?}, but it is defined as {better:?} and {scale:?}"
        ))
    }

    /// Where the range of its fractions begins; it ends at 1.
    pub(crate) fn lowest(self) -> f64 {
        match self {
            Self::Matthews | Self::Pearson | Self::Spearman => -1.0,
            _ => 0.0,
        }
    }
}

/// What a metric's numbers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Fractions of 1 (correlations from −1); tables print percent.
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
    /// How its value comes from the items.
    pub aggregate: Aggregate,
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
    /// A mean of fractions of which more is better.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self::aggregated(name, version, Aggregate::Mean)
    }

    /// A metric with the direction and scale that belong to `aggregate`; for a mean, fractions of which more is better.
    pub fn aggregated(name: impl Into<String>, version: impl Into<String>, aggregate: Aggregate) -> Self {
        let (better, scale) = aggregate.fixed().unwrap_or_default();
        Self { name: name.into(), version: version.into(), better, scale, aggregate }
    }

    /// The names of the per-item scores it is made from.
    pub fn columns(&self) -> Vec<&str> {
        match self.aggregate.statistic() {
            Some(statistic) => statistic.columns().to_vec(),
            None if self.aggregate == Aggregate::Corpus => Vec::new(),
            None => vec![&self.name],
        }
    }

    /// The value over the test items that count; `None` when none does.
    ///
    /// # Errors
    /// As [`Metric::measure_on`].
    pub fn measure(&self, outcomes: &[Outcome]) -> Result<Option<MetricValue>> {
        self.measure_on(Split::Test, outcomes)
    }

    /// The value over the items of `split` that count; `None` when none does.
    ///
    /// # Errors
    /// [`Error::Record`] when an item's score is not finite, [`Error::Item`] when it lacks a column of the statistic or
    /// has an impossible one; [`Error::Metric`] for a metric that is made by somebody else, has a direction or scale its
    /// aggregate cannot have, or has no value on these items.
    pub fn measure_on(&self, split: Split, outcomes: &[Outcome]) -> Result<Option<MetricValue>> {
        let wrong = |reason: String| Error::Metric { metric: self.name.clone(), reason };
        if let Some(conflict) = self.aggregate.conflict(self.better, self.scale) {
            return Err(wrong(conflict));
        }
        let outcomes = outcomes.iter().filter(|o| o.split == split);
        let (value, items) = match self.aggregate.statistic() {
            Some(statistic) => self.statistic(statistic, outcomes)?,
            None if self.aggregate == Aggregate::Corpus => {
                return Err(wrong("it is a figure of the whole set, not made from items".into()));
            }
            None => self.mean(outcomes)?,
        };
        if items > 0 && !value.is_finite() {
            return Err(wrong(format!("over {items} items its value is `{value}`")));
        }
        Ok((items > 0).then(|| MetricValue {
            name: self.name.clone(),
            version: self.version.clone(),
            value,
            items: Some(items),
            better: self.better,
            scale: self.scale,
            aggregate: self.aggregate,
        }))
    }

    fn mean<'a>(&self, outcomes: impl Iterator<Item = &'a Outcome>) -> Result<(f64, u64)> {
        let (mut sum, mut items) = (0.0, 0);
        for outcome in outcomes {
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
        Ok((sum / items as f64, items))
    }

    fn statistic<'a>(
        &self,
        statistic: Statistic,
        outcomes: impl Iterator<Item = &'a Outcome>,
    ) -> Result<(f64, u64)> {
        let items = outcomes.filter_map(|outcome| columns::read(statistic, &self.name, outcome).transpose());
        let rows: Vec<[Vec<Vec<f64>>; 1]> = items.map(|item| Ok([vec![item?]])).collect::<Result<_>>()?;
        let items = rows.len() as u64;
        Ok((Sample::from_rows(statistic, rows).value(), items))
    }
}
