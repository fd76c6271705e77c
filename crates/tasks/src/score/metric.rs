//! What a metric is, and how the scores of items become its value.

use super::{bleu, statistic};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::slice;

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
///
/// All but the mean are read from columns of the scores that are no metrics themselves ([`Metric::columns`]). Items of
/// one cluster are not independent: an interval resamples clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// The mean over the items that have a score.
    Mean,
    /// Matthews' correlation of the classes `gold` and `predicted`, for any number of classes (Gorodkin 2004); 0 where
    /// one of them never varies, as in scikit-learn.
    Matthews,
    /// F1 of class 1 in the classes `gold` and `predicted`: 2 tp / (2 tp + fp + fn), 0 where class 1 never occurs.
    F1,
    /// Pearson's correlation of the values `gold` and `predicted`; 0 where one of them never varies.
    Pearson,
    /// Spearman's rank correlation of the values `gold` and `predicted`, equal values sharing their mean rank; 0
    /// where one of them never varies.
    Spearman,
    /// Corpus BLEU from 0 to 1, of the sums of the columns `bleu.*`.
    Bleu,
    /// exp(Σ `nats` / Σ `tokens`).
    Perplexity,
    /// Σ `nats` / (ln 2 · Σ `characters`).
    BitsPerCharacter,
    /// Σ `nats` / Σ `tokens`.
    NatsPerToken,
}

/// The scores of one item: of metrics that are means, in [0, 1], and the columns that other metrics read. A metric the
/// item does not count for is absent.
pub type Scores = BTreeMap<&'static str, f64>;

impl Metric {
    pub(super) const fn fraction(name: &'static str, description: &'static str) -> Self {
        Self { name, version: 1, better: Better::Higher, aggregate: Aggregate::Mean, description }
    }

    /// The columns of the scores it is computed from: its own name for a mean.
    pub fn columns(&self) -> &[&'static str] {
        match self.aggregate {
            Aggregate::Mean => slice::from_ref(&self.name),
            Aggregate::Matthews | Aggregate::F1 | Aggregate::Pearson | Aggregate::Spearman => {
                &["gold", "predicted"]
            }
            Aggregate::Bleu => bleu::COLUMNS,
            Aggregate::Perplexity | Aggregate::NatsPerToken => &["nats", "tokens"],
            Aggregate::BitsPerCharacter => &["nats", "characters"],
        }
    }

    /// The metric over items; none where no item counts, or nothing is counted in those that do (texts without tokens).
    pub fn value(&self, scores: &[Scores]) -> Option<f64> {
        let columns = self.columns();
        let row = |scores: &Scores| -> Option<Vec<f64>> {
            columns.iter().map(|column| scores.get(column).copied()).collect()
        };
        let rows: Vec<_> = scores.iter().filter_map(row).collect();
        if rows.is_empty() {
            return None;
        }
        let sums =
            || -> Vec<f64> { (0..columns.len()).map(|at| rows.iter().map(|row| row[at]).sum()).collect() };
        let ratio = || Some(sums()).filter(|sums| sums[1] > 0.0).map(|sums| sums[0] / sums[1]);
        let pairs = || rows.iter().map(|row| [row[0], row[1]]).collect::<Vec<_>>();
        match self.aggregate {
            Aggregate::Mean => Some(sums()[0] / rows.len() as f64),
            Aggregate::Matthews => Some(statistic::matthews(&pairs())),
            Aggregate::F1 => Some(statistic::f1(&pairs())),
            Aggregate::Pearson => Some(statistic::pearson(&pairs())),
            Aggregate::Spearman => Some(statistic::spearman(&pairs())),
            Aggregate::Bleu => Some(statistic::bleu(&sums())),
            Aggregate::Perplexity => ratio().map(f64::exp),
            Aggregate::BitsPerCharacter => ratio().map(|nats| nats / std::f64::consts::LN_2),
            Aggregate::NatsPerToken => ratio(),
        }
    }
}
