//! The tables of a comparison: scores with their costs, and the tests behind them.

use std::collections::BTreeSet;

use super::model::{Cell, Column, Emphasis, ONE_SEED, Row, Section, Table};
use crate::entry::Replication;
use crate::metric::Better;
use crate::ranking::{Comparison, Ranked, Ranking};
use crate::stats::IntervalKind;
use crate::stats::effect::Effect;

/// One row per method and task: score with interval, tie letters, parameters, time, memory, file, items and seeds.
pub fn results(rankings: &[Ranking<'_>]) -> Table {
    let columns = vec![
        Column::left("method", &["method"]),
        Column::right("score", &["value"]),
        Column::right("interval", &["ci_low", "ci_high"]),
        Column::left("ties", &["ties"]),
        Column::right("trainable", &["trainable_parameters"]).expendable(1),
        Column::right("%", &["trainable_percent"]).expendable(4),
        Column::right("training", &["train_seconds"]).expendable(2),
        Column::right("memory", &["peak_bytes"]).expendable(3),
        Column::right("file", &["adapter_bytes"]).expendable(5),
        Column::right("n × seeds", &["n_items", "seeds"]),
    ];
    let sections = rankings
        .iter()
        .map(|ranking| Section {
            labels: vec![ranking.task.clone(), ranking.metric.clone()],
            rows: ranking.rows.iter().map(result_row).collect(),
        })
        .collect();
    Table {
        title: "Results".into(),
        labels: vec!["task", "metric"],
        columns,
        sections,
        notes: result_notes(rankings),
    }
}

fn result_row(row: &Ranked<'_>) -> Row {
    let metric = &row.pooled.metric;
    let replication = row.entry.replication();
    let cells = vec![
        Cell::Text(row.entry.record().method.clone()),
        Cell::Score(metric.value, metric.scale, replication),
        Cell::known(row.pooled.interval, |i| Cell::Interval(i.low, i.high, metric.scale)),
        Cell::known(Some(row.letters.clone()).filter(|letters| !letters.is_empty()), Cell::Text),
        Cell::known(row.entry.largest(|r| r.parameters.trainable), Cell::Quantity),
        Cell::known(row.entry.largest(|r| r.parameters.trainable_percent), Cell::Percent),
        Cell::known(row.entry.mean(|r| r.total.train_seconds), Cell::Seconds),
        Cell::known(row.entry.largest(|r| r.memory.peak_bytes), Cell::Bytes),
        Cell::known(row.entry.largest(|r| r.adapter_bytes), Cell::Bytes),
        Cell::Sample(metric.items, replication),
    ];
    Row { cells, emphasis: if row.best { Emphasis::Best } else { Emphasis::None } }
}

fn result_notes(rankings: &[Ranking<'_>]) -> Vec<String> {
    let rows = || rankings.iter().flat_map(|ranking| &ranking.rows);
    let mut notes = Vec::new();
    let kinds = rows().filter_map(|row| row.pooled.interval).map(|i| i.kind);
    notes.extend(rankings.first().and_then(|ranking| intervals(kinds, ranking.alpha)));
    let tests = list(rankings.iter().flat_map(|r| &r.comparisons).map(|c| c.effect.test.label()));
    if let (Some(tests), Some(ranking)) = (tests, rankings.first()) {
        notes.push(format!(
            "Methods that share a letter are not told apart at the {} level ({tests}; Holm's correction over the task's \
             pairs); the best group stands out.",
            ranking.alpha
        ));
    }
    notes.extend(one_seed(rows()));
    let lower = rows().map(|row| &row.pooled.metric).filter(|metric| metric.better == Better::Lower);
    notes.extend(
        list(lower.map(|metric| metric.name.as_str())).map(|names| format!("Lower is better: {names}.")),
    );
    notes
}

fn intervals(kinds: impl Iterator<Item = IntervalKind>, alpha: f64) -> Option<String> {
    list(kinds.map(IntervalKind::label))
        .map(|kinds| format!("Intervals of {} %: {kinds}.", (1e4 * (1.0 - alpha)).round() / 100.0))
}

fn one_seed<'a>(mut rows: impl Iterator<Item = &'a Ranked<'a>>) -> Option<String> {
    rows.any(|row| row.entry.replication() == Replication::OneSeed).then(|| {
        format!("{ONE_SEED} one seed: interval and tests cover the choice of items only; another seed may change the order.")
    })
}

/// Each once, in order of the alphabet.
fn list<'a>(labels: impl Iterator<Item = &'a str>) -> Option<String> {
    let labels: BTreeSet<&str> = labels.collect();
    (!labels.is_empty()).then(|| labels.into_iter().collect::<Vec<_>>().join(", "))
}

/// One row per pair of each ranking: difference with interval, p-values, effect size.
pub fn tests(rankings: &[Ranking<'_>]) -> Table {
    let columns = vec![
        Column::left("method", &["method"]),
        Column::left("against", &["against"]),
        Column::right("difference", &["difference"]),
        Column::right("interval", &["ci_low", "ci_high"]),
        Column::right("p", &["p_value"]).expendable(1),
        Column::right("p (Holm)", &["p_value_holm"]),
        Column::left("told apart", &["told_apart"]),
        Column::right("odds ratio", &["odds_ratio"]).expendable(3),
        Column::right("Cohen's h", &["cohen_h"]).expendable(4),
        Column::right("Cohen's d", &["cohen_d"]).expendable(5),
        Column::left("test", &["test"]).expendable(2),
        Column::right("seeds", &["seeds"]),
    ];
    let sections = rankings
        .iter()
        .map(|ranking| Section {
            labels: vec![ranking.task.clone(), ranking.metric.clone()],
            rows: ranking.comparisons.iter().map(|comparison| test_row(ranking, comparison)).collect(),
        })
        .collect();
    let mut notes = Vec::new();
    if let Some(Ranking { alpha, .. }) = rankings.first() {
        let comparisons = rankings.iter().flat_map(|ranking| &ranking.comparisons);
        notes.extend(intervals(comparisons.map(|c| c.effect.interval.kind), *alpha));
        notes
            .push(format!("Told apart: p after Holm's correction over the task's pairs is at most {alpha}."));
    }
    notes.extend(one_seed(rankings.iter().flat_map(|ranking| &ranking.rows)));
    Table { title: "Tests".into(), labels: vec!["task", "metric"], columns, sections, notes }
}

fn test_row(ranking: &Ranking<'_>, comparison: &Comparison) -> Row {
    let (a, b) = (&ranking.rows[comparison.first], &ranking.rows[comparison.second]);
    let Effect { difference, interval, p_value, test, odds_ratio, cohen_h, cohen_d } = comparison.effect;
    let scale = a.pooled.metric.scale;
    let replication = match comparison.seeds {
        1 => Replication::OneSeed,
        seeds => Replication::Seeds(seeds),
    };
    let cells = vec![
        Cell::Text(a.entry.record().method.clone()),
        Cell::Text(b.entry.record().method.clone()),
        Cell::Score(difference, scale, replication),
        Cell::Interval(interval.low, interval.high, scale),
        Cell::PValue(p_value),
        Cell::PValue(comparison.adjusted_p),
        Cell::Text(if comparison.differ { "yes" } else { "no" }.into()),
        Cell::known(odds_ratio.map(|odds| odds.value), Cell::Ratio),
        Cell::known(cohen_h, Cell::Ratio),
        Cell::known(cohen_d, Cell::Ratio),
        Cell::Text(test.label().into()),
        Cell::Quantity(comparison.seeds as u64),
    ];
    Row { cells, emphasis: Emphasis::None }
}
