//! Scores over the values of a setting, drawn.

use std::collections::BTreeSet;

use compare::Run;
use compare::plot::{Curves, Dot, Dots, Figure, Plot, Points, Series, Spacing};
use compare::stats::Settings;

use crate::Result;

/// The score of one method on one task, value by value.
struct Line {
    label: String,
    dots: Vec<Option<Dot>>,
}

/// Scores over `setting`, whose values come with their runs: a curve if these are numbers, else dots in rows.
///
/// # Errors
/// If runs cannot be pooled.
pub fn figure(name: &str, setting: &str, by_value: &[(String, Vec<Run>)]) -> Result<Figure> {
    let lines = lines(by_value)?;
    let numbers: Option<Vec<f64>> = by_value.iter().map(|(value, _)| value.parse().ok()).collect();
    let quantity = "score".to_owned();
    let plot = match numbers {
        Some(numbers) => {
            let series = lines.into_iter().enumerate().map(|(color, line)| {
                let points = numbers.iter().zip(line.dots).filter_map(|(&x, dot)| Some((x, dot?.value)));
                Series { label: line.label, color, points: points.collect() }
            });
            let (over, spacing) = (setting.to_owned(), Spacing::Linear);
            Plot::Curves(Curves { over, spacing, quantity, series: series.collect() })
        }
        None => Plot::Points(Points {
            quantity,
            rows: by_value.iter().map(|(value, _)| value.trim_matches('"').to_owned()).collect(),
            series: lines.into_iter().map(|Line { label, dots }| Dots { label, values: dots }).collect(),
        }),
    };
    Ok(Figure {
        name: name.to_owned(),
        title: format!("Scores over {setting}"),
        caption: "Means of the seeds on the test split, with 95 % intervals where they are drawn.".to_owned(),
        plot,
    })
}

fn lines(by_value: &[(String, Vec<Run>)]) -> Result<Vec<Line>> {
    let mut lines: Vec<Line> = Vec::new();
    let all = by_value.iter().flat_map(|(_, runs)| runs).filter(|run| !run.record.is_base());
    let methods: BTreeSet<&str> = all.map(|run| run.record.method.as_str()).collect();
    for (index, (_, runs)) in by_value.iter().enumerate() {
        // One that was cut off has no score.
        let runs = compare::latest(runs.clone()).runs;
        for ranking in compare::rank_all(&compare::entries(&runs)?, &Settings::default())? {
            for row in ranking.rows.iter().filter(|row| !row.entry.record().is_base()) {
                let label = match methods.len() {
                    1 => ranking.task.clone(),
                    _ => format!("{} {}", row.entry.record().method, ranking.task),
                };
                let place = lines.iter().position(|line| line.label == label).unwrap_or_else(|| {
                    lines.push(Line { label, dots: vec![None; by_value.len()] });
                    lines.len() - 1
                });
                let interval = row.pooled.interval.map(|interval| (interval.low, interval.high));
                lines[place].dots[index] = Some(Dot { value: row.pooled.metric.value, interval });
            }
        }
    }
    Ok(lines)
}

/// Runs of methods called `WAY@WEIGHT`, by weight, under the name of their way.
pub fn by_weight(runs: &[Run]) -> Vec<(String, Vec<Run>)> {
    by(runs, |method| method.split_once('@').map(|(way, weight)| (weight.to_owned(), way.to_owned())))
}

/// Runs by method, under one name.
pub fn by_method(runs: &[Run]) -> Vec<(String, Vec<Run>)> {
    by(runs, |method| (method != compare::BASE).then(|| (method.to_owned(), "method".to_owned())))
}

/// Runs by the first of what `split` makes of their method, under the name of the second.
fn by(runs: &[Run], split: impl Fn(&str) -> Option<(String, String)>) -> Vec<(String, Vec<Run>)> {
    let mut groups: Vec<(String, Vec<Run>)> = Vec::new();
    for run in runs {
        let Some((value, name)) = split(&run.record.method) else { continue };
        let mut run = run.clone();
        run.record.method = name;
        match groups.iter_mut().find(|(known, _)| *known == value) {
            Some((_, runs)) => runs.push(run),
            None => groups.push((value, vec![run])),
        }
    }
    groups
}
