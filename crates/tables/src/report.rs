//! Ours beside the paper's.

mod orders;
mod printed;
mod unsaid;

use compare::Run;
use compare::stats::Settings;
use indexmap::IndexSet;

use crate::cell::Cell;
use crate::departures::departures;
use crate::error::Result;
use crate::order::{Order, orders};
use crate::pack::{Pack, Row, Unit};
use crate::plan::{Scale, TableRun};
use crate::score::{Score, Scores};
use crate::verdict::{PaperScore, Reason, Verdict};

/// What was measured for one run of a pack.
#[derive(Clone, Debug)]
pub struct Measured<'a> {
    /// What was asked for.
    pub run: &'a TableRun,
    /// What came of it: successful runs, one for each seed.
    pub runs: &'a [Run],
}

/// Ours beside the paper's.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// The table.
    pub pack: &'a Pack,
    /// The size of our runs.
    pub scale: Scale,
    /// Every number of the paper and every score of ours, by model, column and row; on the built-in suite those that take part.
    pub cells: Vec<Compared>,
    /// Which row is ahead of which.
    pub orders: Vec<Order>,
    /// The level at which tests decide.
    pub alpha: f64,
}

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Key of the model.
    pub model: String,
    /// Key of the column.
    pub column: String,
    /// Key of the row.
    pub row: String,
    /// The paper's number, with what is known of it.
    pub paper: Option<(f64, PaperScore)>,
    /// Ours.
    pub ours: Option<Score>,
    /// What is to be said of the two.
    pub verdict: Verdict,
}

/// Holds runs against a pack. `measured` may lack runs: their cells are not run.
///
/// # Errors
/// Those of [`compare::entries`] and [`compare::rank`], for runs that cannot be pooled or ranked.
pub fn report<'a>(
    pack: &'a Pack,
    scale: Scale,
    measured: &[Measured<'_>],
    settings: &Settings,
) -> Result<Report<'a>> {
    let scores = Scores::new(pack, scale, measured, settings)?;
    let mut cells = Vec::new();
    for model in pack.models.keys() {
        for column in pack.columns.keys() {
            for (key, row) in pack.rows.iter().filter(|(_, row)| row.model == *model) {
                let paper =
                    row.cells.get(column).map(|cell| (cell.value, pack.paper_score(column, row, cell)));
                let ours = scores.of.get(&(key.clone(), column.clone())).cloned();
                let takes_part = scale == Scale::Paper
                    || (pack.mini.rows.contains_key(key) && pack.mini.columns.contains_key(column));
                if ours.is_none() && (paper.is_none() || !takes_part) {
                    continue;
                }
                let verdict = verdict(pack, scale, measured, (key, column), (paper, ours.as_ref()), settings);
                let (model, column, row) = (model.clone(), column.clone(), key.clone());
                cells.push(Compared { model, column, row, paper, ours, verdict });
            }
        }
    }
    let orders = orders(pack, scale, &scores, settings);
    Ok(Report { pack, scale, cells, orders, alpha: settings.alpha() })
}

fn verdict(
    pack: &Pack,
    scale: Scale,
    measured: &[Measured<'_>],
    (row, column): (&str, &str),
    (paper, ours): (Option<(f64, PaperScore)>, Option<&Score>),
    settings: &Settings,
) -> Verdict {
    let Some(ours) = ours else { return Verdict::NotRun };
    if scale == Scale::Mini {
        return Verdict::NotComparable(Reason::Mini);
    }
    let Some((_, paper)) = paper else { return Verdict::NoNumber };
    let departures = all_departures(pack, measured, row, column);
    if !departures.is_empty() {
        return Verdict::NotComparable(Reason::Departs(departures));
    }
    Verdict::of(&paper, ours, settings.confidence)
}

/// In what the runs behind a cell, and the column itself, depart from the paper; of an average, in what its parts do.
fn all_departures(pack: &Pack, measured: &[Measured<'_>], row: &str, column: &str) -> Vec<String> {
    let mut columns = vec![column];
    let mut found = IndexSet::new();
    while let Some(column) = columns.pop() {
        columns.extend(pack.columns[column].average_of.iter().map(String::as_str));
        found.extend(pack.columns[column].departs.clone());
        let own = |m: &&Measured<'_>| m.run.row == row && m.run.columns.iter().any(|c| c == column);
        for measured in measured.iter().filter(own) {
            found.extend(measured.runs.iter().flat_map(|run| departures(measured.run, &run.record)));
        }
    }
    found.into_iter().collect()
}

impl Pack {
    /// A number of the paper as a score of ours.
    pub(crate) fn paper_score(&self, column: &str, row: &Row, cell: &Cell) -> PaperScore {
        let grade = self.grade(row, cell);
        let column = &self.columns[column];
        let fraction = |value: f64| match column.unit {
            Unit::Percent => Some(value),
            Unit::Plain => None,
        };
        PaperScore {
            value: column.score(cell.value),
            grade,
            items: column.items.map(|items| items as f64).and_then(fraction),
            stderr: cell.stderr.map(|error| column.score(error)),
        }
    }
}
