//! `summary.json`: the scores of a set of runs, for programs.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::comparable::check_metric;
use crate::entry::{Entry, Replication, entries};
use crate::error::Result;
use crate::metric::MetricValue;
use crate::record::RunRecord;
use crate::run::Run;
use crate::stats::Settings;
use crate::store::{Existing, write_atomically};

/// The schema of `summary.json`.
const SUMMARY_SCHEMA: u64 = 1;

/// The scores of a set of runs, seeds pooled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Version of this layout.
    pub schema: u64,
    /// Tasks in order of appearance; in each the unadapted model first, then the methods in order of appearance; of each
    /// one row per metric, the primary one first.
    pub rows: Vec<SummaryRow>,
}

/// One metric of one method on one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SummaryRow {
    /// The method without its variant: `lori` for `lori-d`; `base` for the unadapted model.
    pub method: String,
    /// `d`, `s`, …; empty where there is none. With it, the registry's name is `method-variant`.
    pub variant: String,
    /// The task.
    pub task: String,
    /// The scenario it was part of, if any.
    #[serde(default)]
    pub scenario: Option<String>,
    /// Where in the scenario: the adapters merged, the tasks learned so far.
    #[serde(default)]
    pub stage: Option<String>,
    /// The metric.
    pub metric: String,
    /// Mean over items and seeds, or over the seeds' statistics; a fraction for proportions and correlations.
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub ci_low: Option<f64>,
    /// Upper end of the 95 % interval.
    pub ci_high: Option<f64>,
    /// Distinct items that count.
    pub n_items: Option<u64>,
    /// Seeds pooled; 1 for the unadapted model.
    pub seeds: u64,
    /// Values that trained; the largest of the seeds.
    pub trainable_parameters: Option<u64>,
    /// Of base and all adapter values, as PEFT counts; the largest of the seeds.
    pub trainable_percent: Option<f64>,
    /// Seconds in training phases, of needed runs too; mean of the seeds.
    pub train_seconds: Option<f64>,
    /// Peak memory; the largest of the seeds.
    pub peak_bytes: Option<u64>,
}

impl Summary {
    /// Writes the summary as JSON, whole or not at all, over an older one.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(self).expect("a summary is plain data");
        json.push(b'\n');
        write_atomically(path, &json, Existing::Replace)
    }
}

/// Summarizes runs.
///
/// # Errors
/// Those of [`entries`] and [`Entry::pooled`], and [`crate::Error::MixedMetric`] when two methods of a task were scored by
/// different rules, as a summary does not show versions.
pub fn summarize(runs: &[Run], settings: &Settings) -> Result<Summary> {
    let entries = entries(runs)?;
    let mut rows = Vec::new();
    for task in entries.chunk_by(|a, b| a.record().task == b.record().task) {
        check_rules(task)?;
        for entry in task {
            for metric in &entry.record().metrics {
                rows.push(row(entry, &metric.name, settings)?);
            }
        }
    }
    Ok(Summary { schema: SUMMARY_SCHEMA, rows })
}

/// One metric of a task has one rule.
fn check_rules(task: &[Entry<'_>]) -> Result<()> {
    let mut rules: BTreeMap<&str, (&RunRecord, &MetricValue)> = BTreeMap::new();
    for record in task.iter().map(Entry::record) {
        for metric in &record.metrics {
            check_metric(*rules.entry(&metric.name).or_insert((record, metric)), (record, metric))?;
        }
    }
    Ok(())
}

fn row(entry: &Entry<'_>, metric: &str, settings: &Settings) -> Result<SummaryRow> {
    let record = entry.record();
    let pooled = entry.pooled(metric, settings)?.expect("the entry has the metric");
    Ok(SummaryRow {
        method: bare_method(record).to_owned(),
        variant: record.variant.clone(),
        task: record.task.clone(),
        scenario: None,
        stage: None,
        metric: metric.to_owned(),
        value: pooled.metric.value,
        ci_low: pooled.interval.map(|i| i.low),
        ci_high: pooled.interval.map(|i| i.high),
        n_items: pooled.metric.items,
        seeds: match entry.replication() {
            Replication::Untrained | Replication::OneSeed => 1,
            Replication::Seeds(seeds) => seeds as u64,
        },
        trainable_parameters: entry.largest(|r| r.parameters.trainable),
        trainable_percent: entry.largest(|r| r.parameters.trainable_percent),
        train_seconds: entry.mean(|r| r.total.train_seconds),
        peak_bytes: entry.largest(|r| r.memory.peak_bytes),
    })
}

/// `lori-d` with variant `d` is `lori`; a name that does not end in its variant stays.
fn bare_method(record: &RunRecord) -> &str {
    record
        .method
        .strip_suffix(record.variant.as_str())
        .and_then(|name| name.strip_suffix('-'))
        .filter(|_| !record.variant.is_empty())
        .unwrap_or(&record.method)
}
