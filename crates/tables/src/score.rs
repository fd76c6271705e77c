//! What we measured, by row and column, and which rows can be told apart.

use std::collections::BTreeMap;

use compare::stats::Settings;
use compare::table::Emphasis;
use compare::{BASE, Replication, Run, entries, rank};

use crate::error::Result;
use crate::pack::Pack;
use crate::plan::Scale;
use crate::report::Measured;

/// A score of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// The mean over items and seeds.
    pub value: f64,
    /// What it is.
    pub scale: compare::Scale,
    /// Ends of its interval, where there is one.
    pub interval: Option<(f64, f64)>,
    /// Items that counted.
    pub items: Option<u64>,
    /// How often it was made.
    pub replication: Replication,
    /// Rows of a column that share a letter are not told apart; empty where nothing is tested.
    pub letters: String,
    /// Whether it is in the best group of its column: not told apart from the first.
    pub emphasis: Emphasis,
}

/// Two rows of one model in one column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pair {
    pub(crate) column: String,
    /// The row with the better score.
    pub(crate) better: String,
    pub(crate) worse: String,
    /// The difference of their scores.
    pub(crate) difference: f64,
    pub(crate) scale: compare::Scale,
    pub(crate) seeds: usize,
    pub(crate) adjusted_p: f64,
    /// Whether they are told apart.
    pub(crate) differ: bool,
}

/// Everything that was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scores {
    /// By row and column.
    pub(crate) of: BTreeMap<(String, String), Score>,
    pub(crate) pairs: Vec<Pair>,
}

impl Scores {
    pub(crate) fn new(
        pack: &Pack,
        scale: Scale,
        measured: &[Measured<'_>],
        settings: &Settings,
    ) -> Result<Self> {
        let mut scores = Self::default();
        for model in pack.models.keys() {
            for column in pack.columns.keys() {
                let runs: Vec<Run> = measured
                    .iter()
                    .filter(|m| pack.rows[&m.run.row].model == *model && m.run.columns.contains(column))
                    .flat_map(|m| m.runs.iter().map(|run| relabelled(run, &m.run.row, column)))
                    .collect();
                if !runs.is_empty() {
                    scores.add(pack, scale, column, &runs, settings)?;
                }
            }
        }
        for (column, parts) in pack.columns.iter().map(|(key, column)| (key, &column.average_of)) {
            for row in pack.rows.keys() {
                if !parts.is_empty() && !scores.of.contains_key(&(row.clone(), column.clone())) {
                    scores.add_average(row, column, parts);
                }
            }
        }
        Ok(scores)
    }

    fn add(
        &mut self,
        pack: &Pack,
        scale: Scale,
        column: &str,
        runs: &[Run],
        settings: &Settings,
    ) -> Result<()> {
        let metric = match scale {
            Scale::Paper => pack.columns[column].metric.as_deref(),
            Scale::Mini => None,
        };
        let entries = entries(runs)?;
        let ranking = rank(&entries, metric, settings)?;
        let row = |index: usize| row_of(ranking.rows[index].entry.record());
        for (index, ranked) in ranking.rows.iter().enumerate() {
            let score = Score {
                value: ranked.pooled.metric.value,
                scale: ranked.pooled.metric.scale,
                interval: ranked.pooled.interval.map(|interval| (interval.low, interval.high)),
                items: ranked.pooled.metric.items,
                replication: ranked.entry.replication(),
                letters: ranked.letters.clone(),
                emphasis: if ranked.best { Emphasis::Best } else { Emphasis::None },
            };
            self.of.insert((row(index), column.to_owned()), score);
        }
        for comparison in &ranking.comparisons {
            self.pairs.push(Pair {
                column: column.to_owned(),
                better: row(comparison.first),
                worse: row(comparison.second),
                difference: comparison.effect.difference,
                scale: ranking.rows[comparison.first].pooled.metric.scale,
                seeds: comparison.seeds,
                adjusted_p: comparison.adjusted_p,
                differ: comparison.differ,
            });
        }
        Ok(())
    }

    /// The mean of columns. Of its interval the squares of the columns' distances to their ends add (Zou and Donner, Stat.
    /// Med. 2008): the columns are taken as independent, though one training may stand behind several.
    fn add_average(&mut self, row: &str, column: &str, parts: &[String]) {
        let part = |part: &String| self.of.get(&(row.to_owned(), part.clone())).cloned();
        let Some(parts) = parts.iter().map(part).collect::<Option<Vec<Score>>>() else { return };
        let k = parts.len() as f64;
        let value = parts.iter().map(|score| score.value).sum::<f64>() / k;
        let distances = |end: fn((f64, f64), f64) -> f64| {
            let squares = parts.iter().map(|score| Some(end(score.interval?, score.value).powi(2)));
            Some(squares.sum::<Option<f64>>()?.sqrt() / k)
        };
        let (below, above) = (distances(|(low, _), at| at - low), distances(|(_, high), at| high - at));
        let fewest =
            parts.iter().map(|score| score.replication).min_by_key(|replication| match replication {
                Replication::OneSeed => 1,
                Replication::Seeds(seeds) => *seeds,
                Replication::Untrained => usize::MAX,
            });
        let average = Score {
            value,
            scale: parts[0].scale,
            interval: below.zip(above).map(|(below, above)| (value - below, value + above)),
            items: parts.iter().map(|score| score.items).sum(),
            replication: fewest.expect("an average has parts"),
            letters: String::new(),
            emphasis: Emphasis::None,
        };
        self.of.insert((row.to_owned(), column.to_owned()), average);
    }
}

/// The run as if its row were its method and its column its task, so that rows with one method stay apart. The unadapted
/// model keeps its name, since that says that no seed changes it.
fn relabelled(run: &Run, row: &str, column: &str) -> Run {
    let mut run = run.clone();
    if !run.record.is_base() {
        row.clone_into(&mut run.record.method);
    }
    row.clone_into(&mut run.record.family);
    column.clone_into(&mut run.record.task);
    run
}

/// The row of a relabelled run.
fn row_of(record: &compare::RunRecord) -> String {
    debug_assert!(record.method == record.family || record.method == BASE);
    record.family.clone()
}
