//! Methods of one task in order, with what can and cannot be told apart.

use std::collections::BTreeSet;

use crate::comparable::{check_metric, different};
use crate::entry::{Basis, Entry, Pooled};
use crate::error::{Error, Result};
use crate::metric::Better;
use crate::stats::effect::{self, Effect};
use crate::stats::proportions::Proportion;
use crate::stats::{Scores, Settings, holm, letters, nonlinear};

/// Methods of one task on one metric, best first.
#[derive(Clone, Debug)]
pub struct Ranking<'a> {
    /// The task.
    pub task: String,
    /// The metric.
    pub metric: String,
    /// Version of its rule.
    pub version: String,
    /// The methods.
    pub rows: Vec<Ranked<'a>>,
    /// All pairs that can be compared.
    pub comparisons: Vec<Comparison>,
    /// Level of the decisions.
    pub alpha: f64,
}

/// One row of a ranking.
#[derive(Clone, Debug)]
pub struct Ranked<'a> {
    /// Whose row.
    pub entry: Entry<'a>,
    /// Its score.
    pub pooled: Pooled,
    /// Rows that share a letter are not told apart; empty where nothing can be tested.
    pub letters: String,
    /// Whether the row is in the best group: not told apart from the first.
    pub best: bool,
}

/// Two rows compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Index of the better row.
    pub first: usize,
    /// Index of the other.
    pub second: usize,
    /// What the test found.
    pub effect: Effect,
    /// Seeds behind it: those the two have in common.
    pub seeds: usize,
    /// p-value after Holm's correction over all pairs of the ranking.
    pub adjusted_p: f64,
    /// Whether the two are told apart.
    pub differ: bool,
}

/// Ranks the entries of one task by `metric`, or by the primary metric of the first entry.
///
/// # Errors
/// [`Error::NoRuns`], [`Error::DifferentTasks`], [`Error::UnknownMetric`], [`Error::MixedMetric`] when rules
/// differ, [`Error::DifferentItems`] for methods that share no seed, and those of [`Entry::pooled`].
pub fn rank<'a>(entries: &[Entry<'a>], metric: Option<&str>, settings: &Settings) -> Result<Ranking<'a>> {
    let first = entries.first().ok_or(Error::NoRuns)?.record();
    let metric = match metric {
        Some(name) => name,
        None => &first.metrics.first().ok_or(Error::NoRuns)?.name,
    };
    let mut rows = Vec::new();
    for entry in entries {
        if entry.record().task != first.task {
            return Err(Error::DifferentTasks {
                first: first.task.clone(),
                second: entry.record().task.clone(),
            });
        }
        let Some(pooled) = entry.pooled(metric, settings)? else { continue };
        rows.push(Ranked { entry: entry.clone(), pooled, letters: String::new(), best: false });
    }
    let Some(top) = rows.first() else { return Err(unknown_metric(entries, metric)) };
    for row in &rows {
        check_metric((top.entry.record(), &top.pooled.metric), (row.entry.record(), &row.pooled.metric))?;
    }
    let (version, better) = (top.pooled.metric.version.clone(), top.pooled.metric.better);
    rows.sort_by(|a, b| match better {
        Better::Higher => b.pooled.metric.value.total_cmp(&a.pooled.metric.value),
        Better::Lower => a.pooled.metric.value.total_cmp(&b.pooled.metric.value),
    });
    let comparisons = compare_all(&rows, settings)?;
    mark(&mut rows, &comparisons);
    Ok(Ranking {
        task: first.task.clone(),
        metric: metric.to_owned(),
        version,
        rows,
        comparisons,
        alpha: settings.alpha(),
    })
}

/// One ranking by the primary metric for each task, in order of appearance.
///
/// # Errors
/// As [`rank`].
pub fn rank_all<'a>(entries: &[Entry<'a>], settings: &Settings) -> Result<Vec<Ranking<'a>>> {
    entries
        .chunk_by(|a, b| a.record().task == b.record().task)
        .map(|task| rank(task, None, settings))
        .collect()
}

fn unknown_metric(entries: &[Entry<'_>], metric: &str) -> Error {
    let names = entries.iter().flat_map(|entry| &entry.record().metrics).map(|m| m.name.clone());
    let known: BTreeSet<String> = names.collect();
    Error::UnknownMetric {
        task: entries[0].record().task.clone(),
        metric: metric.to_owned(),
        known: known.into_iter().collect(),
    }
}

fn compare_all(rows: &[Ranked<'_>], settings: &Settings) -> Result<Vec<Comparison>> {
    let testable = testable(rows);
    let mut comparisons = Vec::new();
    for (position, &first) in testable.iter().enumerate() {
        for &second in &testable[position + 1..] {
            let side = |row: usize| (&rows[row].entry, &rows[row].pooled);
            let (effect, seeds) = compare(side(first), side(second), settings)?;
            comparisons.push(Comparison { first, second, effect, seeds, adjusted_p: 1.0, differ: false });
        }
    }
    let p_values: Vec<f64> = comparisons.iter().map(|c| c.effect.p_value).collect();
    for (comparison, adjusted) in comparisons.iter_mut().zip(holm::adjust(&p_values)) {
        comparison.adjusted_p = adjusted;
        comparison.differ = adjusted <= settings.alpha();
    }
    Ok(comparisons)
}

fn testable(rows: &[Ranked<'_>]) -> Vec<usize> {
    (0..rows.len()).filter(|&row| !matches!(rows[row].pooled.basis, Basis::Value)).collect()
}

/// The effect and the number of seeds behind it.
pub(crate) fn compare(
    (a, a_pooled): (&Entry<'_>, &Pooled),
    (b, b_pooled): (&Entry<'_>, &Pooled),
    settings: &Settings,
) -> Result<(Effect, usize)> {
    let refusal = |reason: &str| different(a.record(), b.record(), reason.to_owned());
    let common = || common_seeds(a, b).ok_or_else(|| refusal("they share no seed"));
    match (&a_pooled.basis, &b_pooled.basis) {
        (Basis::Scores(x), Basis::Scores(y)) => {
            let (of_a, of_b) = common()?;
            let (x, y) = Scores::without_empty_pairs(&x.columns(&of_a), &y.columns(&of_b));
            return Ok((effect::paired(&x, &y, settings), of_a.len()));
        }
        (Basis::Sample(x), Basis::Sample(y)) => {
            let (of_a, of_b) = common()?;
            let effect = nonlinear::paired(&x.columns(&of_a), &y.columns(&of_b), settings);
            return Ok((effect, of_a.len()));
        }
        _ => {}
    }
    match (proportion(a_pooled), proportion(b_pooled)) {
        (Some(x), Some(y)) => Ok((effect::unpaired(x, y, settings), a.runs.len().min(b.runs.len()))),
        _ => Err(refusal("one has no per-item outcomes and the metric is not right/wrong")),
    }
}

/// The positions of two entries' common seeds; the unadapted model stands beside every seed.
fn common_seeds(a: &Entry<'_>, b: &Entry<'_>) -> Option<(Vec<usize>, Vec<usize>)> {
    let (seeds_a, seeds_b) = (a.seeds(), b.seeds());
    let untrained = |entry: &Entry<'_>| entry.record().is_base() && entry.runs.len() == 1;
    if untrained(a) {
        return Some((vec![0; seeds_b.len()], (0..seeds_b.len()).collect()));
    }
    if untrained(b) {
        return Some(((0..seeds_a.len()).collect(), vec![0; seeds_a.len()]));
    }
    let common: (Vec<_>, Vec<_>) = seeds_a
        .iter()
        .enumerate()
        .filter_map(|(i, seed)| Some((i, seeds_b.iter().position(|other| other == seed)?)))
        .unzip();
    (!common.0.is_empty()).then_some(common)
}

fn proportion(pooled: &Pooled) -> Option<Proportion> {
    match &pooled.basis {
        Basis::Proportion(proportion) => Some(*proportion),
        Basis::Scores(scores) if scores.is_binary() => {
            Some(Proportion { value: scores.mean(), n: pooled.metric.items? as f64 })
        }
        _ => None,
    }
}

/// Letters and the best group from the decisions.
fn mark(rows: &mut [Ranked<'_>], comparisons: &[Comparison]) {
    let testable = testable(rows);
    let differing: BTreeSet<_> =
        comparisons.iter().filter(|c| c.differ).map(|c| (c.first, c.second)).collect();
    let differ = |i: usize, j: usize| differing.contains(&(testable[i], testable[j]));
    for (position, letters) in letters::display(testable.len(), differ).into_iter().enumerate() {
        let row = &mut rows[testable[position]];
        row.letters = letters;
        row.best = position == 0 || !differ(0, position);
    }
}
