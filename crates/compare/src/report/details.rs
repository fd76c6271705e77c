//! Everything known about one method on one task, for the page.

use serde::Serialize;

use super::command::{self, Shell};
use crate::entry::{Entry, Replication};
use crate::error::Result;
use crate::outcome::Split;
use crate::parts::{DataFile, DataSplit, PhaseRecord};
use crate::record::RunRecord;
use crate::stats::Settings;
use crate::table::{bytes, duration, quantity, score_text};

/// What the page shows of an entry once it is opened.
#[derive(Debug, Serialize)]
pub(super) struct Details {
    /// Target of links.
    pub(super) id: String,
    pub(super) method: String,
    pub(super) task: String,
    /// `3 seeds`, `one seed †`.
    replication: String,
    /// Every metric with its interval.
    metrics: Vec<[String; 4]>,
    /// A row for each seed.
    seeds: Vec<[String; 6]>,
    /// A row for each phase of the first seed.
    phases: Vec<[String; 6]>,
    facts: Vec<(&'static str, String)>,
    notes: Vec<String>,
    config: Option<String>,
    shell: Option<Shell>,
}

const UNKNOWN: &str = "–";

impl Details {
    pub(super) fn of(id: String, entry: &Entry<'_>, all: &[Entry<'_>], settings: &Settings) -> Result<Self> {
        let record = entry.record();
        let replication = entry.replication();
        let mut metrics = Vec::new();
        for metric in &record.metrics {
            let pooled = entry.pooled(&metric.name, settings)?.expect("the entry has the metric");
            let interval = pooled.interval.map_or_else(
                || UNKNOWN.to_owned(),
                |i| {
                    let end = |value| score_text(value, metric.scale, Replication::Untrained);
                    format!("[{}, {}] {}", end(i.low), end(i.high), i.kind.label())
                },
            );
            metrics.push([
                format!("{} (version {})", metric.name, metric.version),
                score_text(pooled.metric.value, metric.scale, replication),
                interval,
                known(pooled.metric.items, |items| items.to_string()),
            ]);
        }
        let needed: Vec<&RunRecord> = all
            .iter()
            .flat_map(|entry| &entry.runs)
            .map(|run| &run.record)
            .filter(|other| record.needs.contains(&other.id))
            .collect();
        let config = command::config(record, &needed);
        let mut notes: Vec<String> = entry.runs.iter().flat_map(|run| run.record.notes.clone()).collect();
        notes.dedup();
        Ok(Self {
            id,
            method: record.method.clone(),
            task: record.task.clone(),
            replication: match replication {
                Replication::Untrained => "not trained".into(),
                Replication::OneSeed => "one seed †".into(),
                Replication::Seeds(seeds) => format!("{seeds} seeds"),
            },
            metrics,
            seeds: entry.runs.iter().map(|run| seed_row(&run.record)).collect(),
            phases: record.phases.iter().map(phase_row).collect(),
            facts: facts(record),
            notes,
            shell: config.as_ref().and_then(|config| command::shell(entry, config)),
            // Runs of others have a configuration of another form.
            config: config.or_else(|| serde_json::to_string_pretty(&record.config).ok()),
        })
    }
}

fn known<T>(value: Option<T>, words: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), words)
}

fn seed_row(record: &RunRecord) -> [String; 6] {
    [
        record.seed.to_string(),
        record.id.clone(),
        known(record.metrics.first(), |m| score_text(m.value, m.scale, Replication::OneSeed)),
        known(record.total.train_seconds, duration),
        known(record.total.wall_seconds, duration),
        known(record.memory.peak_bytes, bytes),
    ]
}

fn phase_row(phase: &PhaseRecord) -> [String; 6] {
    [
        phase.name.clone(),
        phase.steps.to_string(),
        known(phase.seconds, duration),
        known(phase.tokens, quantity),
        known(phase.tokens.zip(phase.seconds).filter(|(_, seconds)| *seconds > 0.0), |(tokens, seconds)| {
            format!("{}/s", quantity((tokens as f64 / seconds) as u64))
        }),
        known(phase.lr, |lr| format!("{lr}")),
    ]
}

/// `openai/gsm8k@740312…/main/test.parquet, 17f347dc51477c50`, one after the other.
fn files(files: &[DataFile]) -> String {
    let one = |file: &DataFile| {
        let repo = file.repo.as_ref().map(|repo| format!("{repo}/")).unwrap_or_default();
        format!("{repo}{}, {}", file.path, file.sha256.chars().take(16).collect::<String>())
    };
    files.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn facts(record: &RunRecord) -> Vec<(&'static str, String)> {
    let e = &record.environment;
    let split = |split: Split| {
        record.data.get(&split).map(|DataSplit { hash, items }| {
            format!(
                "{} items, {}",
                known(*items, |n| n.to_string()),
                hash.chars().take(16).collect::<String>()
            )
        })
    };
    let git = e.git.as_ref().map(|git| {
        let dirty = if git.dirty == Some(true) { ", changed since" } else { "" };
        let part = |text: &Option<String>| text.clone().unwrap_or_else(|| UNKNOWN.into());
        format!("{} on {}{dirty}", part(&git.commit), part(&git.branch))
    });
    let percent =
        record.parameters.trainable_percent.map(|p| format!(" ({p:.3} % of all)")).unwrap_or_default();
    let facts = [
        ("suite", record.suite.clone()),
        ("model", Some(record.model.name.clone()).filter(|name| !name.is_empty())),
        ("weights", record.model.fingerprint.clone()),
        ("trainable values", record.parameters.trainable.map(|n| format!("{n}{percent}"))),
        ("adapter values", record.parameters.adapter_total.map(|n| n.to_string())),
        ("base values", record.parameters.base_total.map(|n| n.to_string())),
        ("adapter file", record.adapter_bytes.map(bytes)),
        ("steps with needed runs", record.total.steps.map(|n| n.to_string())),
        ("evaluation", record.evaluation_seconds.map(duration)),
        ("needed runs", Some(record.needs.join(", ")).filter(|needs| !needs.is_empty())),
        ("training data", split(Split::Train)),
        ("validation data", split(Split::Validation)),
        ("test data", split(Split::Test)),
        ("data files", Some(files(&record.files)).filter(|files| !files.is_empty())),
        ("version", Some(e.version.clone()).filter(|version| !version.is_empty())),
        ("libtorch", e.libtorch.clone()),
        ("device", e.device.clone()),
        ("threads", e.threads.map(|n| n.to_string())),
        ("processor", e.cpu.clone()),
        ("system", e.os.clone()),
        ("source", git),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
