//! The figures of a report.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use crate::entry::Entry;
use crate::metric::{Better, MetricValue, Scale};
use crate::parts::{Curves as RecordedCurves, Point};
use crate::plot::{
    Contestant, Cost, Curves, Figure, Matrix, Pareto, Plot, Series, Spacing, Square, Standing,
};
use crate::ranking::{Ranked, Ranking};
use crate::record::RunRecord;
use crate::sequence::Sequence;
use crate::stats::Settings;
use crate::table::score_text;

/// Numbers of colors by method.
pub(super) type Colors = IndexMap<String, usize>;

/// A line is smoothed to about so many independent points.
const SMOOTHED_TO: usize = 60;

/// Scores against each cost that is known, then loss, validation score and learning rate.
pub(super) fn of_task(ranking: &Ranking<'_>, colors: &Colors) -> Vec<Figure> {
    let mut figures: Vec<Figure> =
        Cost::ALL.into_iter().filter_map(|cost| pareto(ranking, cost, colors)).collect();
    let task = &ranking.task;
    let lines = |points: &dyn Fn(&RecordedCurves) -> Vec<(f64, f64)>| lines(ranking, colors, points);
    let add = |name: &str, quantity: String, caption: &str, series: Vec<Series>| {
        (!series.is_empty()).then(|| Figure {
            name: slug(&format!("{name} {task}")),
            title: format!("{task}: {}", quantity.trim_end_matches(" (%)")),
            caption: caption.to_owned(),
            plot: Plot::Curves(Curves {
                over: "optimizer steps".to_owned(),
                spacing: Spacing::Linear,
                quantity,
                series,
            }),
        })
    };
    let percent = ranking.rows.first().is_some_and(|row| row.pooled.metric.scale == Scale::Fraction);
    let (factor, unit) = if percent { (100.0, " (%)") } else { (1.0, "") };
    figures.extend(add(
        "loss",
        "training loss".into(),
        "One line per run; a moving mean over a sixtieth of the run, as single batches are noisy.",
        lines(&|curves| smooth(&known(&curves.loss))),
    ));
    figures.extend(add(
        "validation",
        format!("validation {}{unit}", ranking.metric),
        "One line per run, a dot per measurement.",
        lines(&|curves| {
            let points = curves.validation.get(&ranking.metric).map(|c| known(c)).unwrap_or_default();
            points.into_iter().map(|(step, value)| (step, factor * value)).collect()
        }),
    ));
    figures.extend(add(
        "learning-rate",
        "learning rate".into(),
        "One line per run.",
        lines(&|curves| known(&curves.learning_rate)),
    ));
    figures
}

fn lines(
    ranking: &Ranking<'_>,
    colors: &Colors,
    points: impl Fn(&RecordedCurves) -> Vec<(f64, f64)>,
) -> Vec<Series> {
    let mut series = Vec::new();
    for run in ranking.rows.iter().flat_map(|row| &row.entry.runs) {
        let points = points(&run.record.curves);
        if let (Some(&color), false) = (colors.get(&run.record.method), points.is_empty()) {
            series.push(Series { label: run.record.method.clone(), color, points });
        }
    }
    series
}

fn known(points: &[Point]) -> Vec<(f64, f64)> {
    points.iter().map(|point| (point.step as f64, point.value.unwrap_or(f64::NAN))).collect()
}

/// A moving mean, centered; points that are not finite stay as they are and count for nothing.
fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = points.len() / SMOOTHED_TO / 2;
    let mean = |i: usize| {
        let window = &points[i.saturating_sub(reach)..(i + reach + 1).min(points.len())];
        let finite: Vec<f64> = window.iter().map(|point| point.1).filter(|value| value.is_finite()).collect();
        finite.iter().sum::<f64>() / finite.len() as f64
    };
    let smoothed =
        |(i, point): (usize, &(f64, f64))| (point.0, if point.1.is_finite() { mean(i) } else { point.1 });
    points.iter().enumerate().map(smoothed).collect()
}

fn pareto(ranking: &Ranking<'_>, cost: Cost, colors: &Colors) -> Option<Figure> {
    let rows: Vec<(usize, &Ranked<'_>, f64)> = ranking
        .rows
        .iter()
        .enumerate()
        .filter_map(|(i, row)| Some((i, row, cost_of(&row.entry, cost).filter(|&cost| cost > 0.0)?)))
        .filter(|(_, row, _)| colors.contains_key(&row.entry.record().method))
        .collect();
    if rows.len() < 2 {
        return None;
    }
    let apart: BTreeSet<(usize, usize)> =
        ranking.comparisons.iter().filter(|c| c.differ).map(|c| (c.first, c.second)).collect();
    let metric = &ranking.rows[0].pooled.metric;
    let surpasses = |a: f64, b: f64| if metric.better == Better::Higher { a > b } else { a < b };
    let standing = |(i, row, own): (usize, &Ranked<'_>, f64)| {
        let rivals = || {
            rows.iter().filter(|(_, rival, cost)| {
                *cost <= own && surpasses(rival.pooled.metric.value, row.pooled.metric.value)
            })
        };
        if rivals().next().is_none() {
            Standing::Front
        } else if rivals().any(|&(rival, ..)| apart.contains(&(rival, i))) {
            Standing::Beaten
        } else {
            Standing::Tied
        }
    };
    let points = rows.iter().map(|&(i, row, cost)| Contestant {
        label: row.entry.record().method.clone(),
        color: colors[&row.entry.record().method],
        cost,
        score: row.pooled.metric.value,
        interval: row.pooled.interval.map(|interval| (interval.low, interval.high)),
        standing: standing((i, row, cost)),
    });
    let base = ranking.rows.iter().find(|row| row.entry.record().is_base());
    let base = base.map(|base| format!(" The unadapted model scores {}.", words(&base.pooled.metric)));
    let task = &ranking.task;
    Some(Figure {
        name: slug(&format!("pareto {task} {}", cost.label())),
        title: format!("{task}: {} against {}", ranking.metric, cost.label()),
        caption: format!(
            "Large dots: no method that costs no more scores better (the stair, shaded with its interval). Rings: one scores \
             better, but is not told apart. Small dots: one is better by the test.{}",
            base.unwrap_or_default()
        ),
        plot: Plot::Pareto(Pareto {
            cost,
            metric: ranking.metric.clone(),
            scale: metric.scale,
            better: metric.better,
            points: points.collect(),
        }),
    })
}

fn cost_of(entry: &Entry<'_>, cost: Cost) -> Option<f64> {
    let largest = |value: fn(&RunRecord) -> Option<u64>| entry.largest(value).map(|value| value as f64);
    match cost {
        Cost::Trainable => largest(|r| r.parameters.trainable),
        Cost::Memory => largest(|r| r.memory.peak_bytes),
        Cost::Time => entry.mean(|r| r.total.train_seconds),
        Cost::File => largest(|r| r.adapter_bytes),
    }
}

/// Methods in rows, tasks in columns.
pub(super) fn overview(rankings: &[Ranking<'_>]) -> Figure {
    let mut methods: Vec<&str> = Vec::new();
    for method in rankings.iter().flat_map(|r| &r.rows).map(|row| row.entry.record().method.as_str()) {
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    let square = |ranking: &Ranking<'_>, method: &str| {
        let row = ranking.rows.iter().find(|row| row.entry.record().method == method)?;
        // What was trained spans the shades; the unadapted model would take most of them.
        let trained = || ranking.rows.iter().filter(|row| !row.entry.record().is_base());
        let values = || trained().map(|row| row.pooled.metric.value);
        let (low, high) =
            (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        let share = if high > low { (row.pooled.metric.value - low) / (high - low) } else { 0.5 };
        let share = share.clamp(0.0, 1.0);
        let scale = row.pooled.metric.scale;
        Some(Square {
            shade: if row.pooled.metric.better == Better::Higher { share } else { 1.0 - share },
            text: format!(
                "{} {}",
                score_text(row.pooled.metric.value, scale, row.entry.replication()),
                row.letters
            ),
            note: row
                .pooled
                .interval
                .map_or_else(String::new, |interval| ends(interval.low, interval.high, scale)),
        })
    };
    Figure {
        name: "overview".into(),
        title: "All tasks at a glance".into(),
        caption: "Score, tie letters and interval; darker is better within a column. † one seed.".into(),
        plot: Plot::Matrix(Matrix {
            rows: methods.iter().map(|&method| method.to_owned()).collect(),
            columns: rankings
                .iter()
                .map(|ranking| format!("{} · {}", ranking.task, ranking.metric))
                .collect(),
            cells: methods
                .iter()
                .map(|method| rankings.iter().map(|ranking| square(ranking, method)).collect())
                .collect(),
        }),
    }
}

/// The accuracy matrix of each run that learned several tasks, with the position of its entry.
pub(super) fn sequences(entries: &[Entry<'_>], settings: &Settings) -> Vec<(usize, Figure)> {
    let mut figures = Vec::new();
    for (position, entry) in entries.iter().enumerate() {
        for record in entry.runs.iter().map(|run| &run.record) {
            if let Some(sequence) = &record.sequence {
                figures.push((position, matrix(record, sequence, settings)));
            }
        }
    }
    figures
}

fn matrix(record: &RunRecord, sequence: &Sequence, settings: &Settings) -> Figure {
    let all = || sequence.before.iter().chain(sequence.after.iter().flatten()).flatten();
    let highest = all().map(|metric| metric.value).fold(f64::MIN_POSITIVE, f64::max);
    let square = |metric: &Option<MetricValue>| {
        let metric = metric.as_ref()?;
        let interval = metric.interval(settings.confidence);
        // Correlations may be negative.
        let share = (metric.value / highest).clamp(0.0, 1.0);
        Some(Square {
            shade: if metric.better == Better::Higher { share } else { 1.0 - share },
            text: words(metric),
            note: interval.map_or_else(String::new, |i| ends(i.low, i.high, metric.scale)),
        })
    };
    let mut rows = Vec::new();
    let mut cells = Vec::new();
    if !sequence.before.is_empty() {
        rows.push("before".to_owned());
        cells.push(sequence.before.iter().map(square).collect());
    }
    for (task, scores) in sequence.tasks.iter().zip(&sequence.after) {
        rows.push(format!("after {task}"));
        cells.push(scores.iter().map(square).collect());
    }
    let scale = all().next().map_or(Scale::Fraction, |metric| metric.scale);
    let points = |value: Option<f64>| {
        value.map_or_else(|| "–".to_owned(), |value| score_text(value, scale, crate::Replication::Untrained))
    };
    let unit = if scale == Scale::Fraction { " (points)" } else { "" };
    let RunRecord { method, task, seed, .. } = record;
    Figure {
        name: slug(&format!("continual {method} {task} seed {seed}")),
        title: format!("{method} on {task}, seed {seed}: scores after each task"),
        caption: format!(
            "Columns are tasks, rows the moments of measuring; intervals cover the choice of items. Average at the end {}, \
             backward transfer {}, forward transfer {}{unit}.",
            points(sequence.average()),
            points(sequence.backward_transfer()),
            points(sequence.forward_transfer())
        ),
        plot: Plot::Matrix(Matrix { rows, columns: sequence.tasks.clone(), cells }),
    }
}

fn words(metric: &MetricValue) -> String {
    score_text(metric.value, metric.scale, crate::Replication::Untrained)
}

fn ends(low: f64, high: f64, scale: Scale) -> String {
    let number = |value| score_text(value, scale, crate::Replication::Untrained);
    format!("{} – {}", number(low), number(high))
}

/// A name fit for a file on every system and for a link.
fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}
