//! The file of one table: everything the paper says about it, and what it leaves unsaid.

use indexmap::IndexMap;
use serde::Deserialize;

use crate::cell::{Cell, Grade, Origin};
use crate::error::{Result, syntax};
use crate::mini::Mini;
use crate::order::Claim;
use crate::overlay::Overlay;
use crate::procedure::Procedure;

/// A table of a paper.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// The pack's name, the same as its file's: `<paper>-<table>`.
    pub name: String,
    /// Where the table stands.
    pub paper: Paper,
    /// How well the numbers are known, unless a row or a cell says otherwise.
    #[serde(default)]
    pub grade: Grade,
    /// Where they were found, unless a row or a cell says otherwise.
    #[serde(default)]
    pub found: String,
    /// Why there are no numbers, where there are none.
    #[serde(default)]
    pub no_cells: Option<String>,
    /// What a reader of the numbers should know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Seeds of every run at the paper's size.
    pub seeds: u64,
    /// Settings of all rows.
    #[serde(default)]
    pub settings: Overlay,
    /// The models.
    pub models: IndexMap<String, Model>,
    /// The columns, in the table's order.
    pub columns: IndexMap<String, Column>,
    /// The rows, in the table's order.
    pub rows: IndexMap<String, Row>,
    /// Orders that the paper states without numbers.
    #[serde(default)]
    pub claims: Vec<Claim>,
    /// Settings that the paper does not state.
    #[serde(default)]
    pub unsaid: Vec<Unsaid>,
    /// Settings that the paper states and that we do otherwise.
    #[serde(default)]
    pub deviations: Vec<Deviation>,
    /// The pack on the built-in suite.
    pub mini: Mini,
}

/// Where a table stands.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paper {
    /// Title.
    pub title: String,
    /// Number on arXiv.
    pub arxiv: String,
    /// `Table 1`, `Figure 3`, or what is known instead.
    pub item: String,
    /// What it is about.
    pub about: String,
}

/// A model of the table.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// As the paper calls it.
    pub label: String,
    /// Where it comes from, as `--model` takes it; absent where there is none to be had.
    #[serde(default)]
    pub name: Option<String>,
    /// Why it cannot be run.
    #[serde(default)]
    pub without: Option<String>,
    /// Settings of its rows.
    #[serde(default)]
    pub settings: Overlay,
}

/// A column of the table.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// As the paper calls it.
    pub label: String,
    /// The task that measures it.
    #[serde(default)]
    pub task: Option<String>,
    /// The preset of the task.
    #[serde(default)]
    pub preset: Option<String>,
    /// The metric of the task.
    #[serde(default)]
    pub metric: Option<String>,
    /// The task whose training it is, where several columns share one adapter.
    #[serde(default)]
    pub trained_on: Option<String>,
    /// The columns of which it is the mean; they stand before it.
    #[serde(default)]
    pub average_of: Vec<String>,
    /// Why no task of ours measures it.
    #[serde(default)]
    pub without: Option<String>,
    /// In what way our task measures something else: then scores are not comparable.
    #[serde(default)]
    pub departs: Option<String>,
    /// What the numbers are.
    #[serde(default)]
    pub unit: Unit,
    /// Which way they improve.
    #[serde(default)]
    pub better: Better,
    /// Digits after the point, as printed.
    #[serde(default = "one")]
    pub decimals: usize,
    /// Right/wrong items behind a number of the paper; as many as ours when absent.
    #[serde(default)]
    pub items: Option<u64>,
}

fn one() -> usize {
    1
}

/// What the numbers of a column are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Hundredths: our scores are fractions.
    #[default]
    Percent,
    /// As our scores are.
    Plain,
}

/// Which way a column improves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// More is better.
    #[default]
    Higher,
    /// Less is better.
    Lower,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// As the paper calls it.
    pub label: String,
    /// The model.
    pub model: String,
    /// Our method; `base` is the unadapted model.
    #[serde(default)]
    pub method: Option<String>,
    /// Why no method of ours runs it.
    #[serde(default)]
    pub without: Option<String>,
    /// What is done with the method.
    #[serde(default)]
    pub procedure: Procedure,
    /// The columns it is scored in; all when empty.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Who measured it.
    #[serde(default)]
    pub origin: Origin,
    /// How well its numbers are known.
    #[serde(default)]
    pub grade: Option<Grade>,
    /// Where they were found.
    #[serde(default)]
    pub found: Option<String>,
    /// Its settings.
    #[serde(default)]
    pub settings: Overlay,
    /// Its numbers by column.
    #[serde(default)]
    pub cells: IndexMap<String, Cell>,
}

/// A setting that the paper does not state.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unsaid {
    /// The setting: a path as in `--set`, or words.
    pub setting: String,
    /// What we chose.
    pub chosen: String,
    /// Why.
    pub why: String,
}

/// A setting that the paper states and that we do otherwise. It may move every score, but no score for its sake is called not
/// comparable: what does that is a column's `departs`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviation {
    /// The setting: a path as in `--set`, or words.
    pub setting: String,
    /// What the paper does.
    pub paper: String,
    /// What we do.
    pub ours: String,
    /// Why.
    pub why: String,
}

impl Pack {
    /// Reads a pack; `origin` names it in errors.
    ///
    /// # Errors
    /// [`crate::Error::Config`] with line and nearest name for what is misspelt, names what is not there (a task, a method, a
    /// column, …) or contradicts itself; [`crate::Error::Task`] for settings that a task does not have.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let pack: Self = toml::from_str(text).map_err(|error| syntax(&error, text, origin))?;
        pack.check(origin)?;
        Ok(pack)
    }

    /// How well a cell is known.
    pub fn grade(&self, row: &Row, cell: &Cell) -> Grade {
        cell.grade.or(row.grade).unwrap_or(self.grade)
    }

    /// Where a cell was found.
    pub fn found<'a>(&'a self, row: &'a Row, cell: &'a Cell) -> &'a str {
        cell.found.as_deref().or(row.found.as_deref()).unwrap_or(&self.found)
    }

    /// How many cells there are of a grade.
    pub fn count(&self, grade: Grade) -> usize {
        let cells = self.rows.values().flat_map(|row| row.cells.values().map(move |cell| (row, cell)));
        cells.filter(|(row, cell)| self.grade(row, cell) == grade).count()
    }
}

impl Column {
    /// A number of this column as the table prints it; one that is known to more digits keeps them.
    pub fn print(&self, value: f64) -> String {
        let known = value.to_string().split_once('.').map_or(0, |(_, digits)| digits.len());
        format!("{value:.*}", self.decimals.max(known))
    }

    /// What a number of this column is as a score of ours.
    pub fn score(&self, value: f64) -> f64 {
        match self.unit {
            Unit::Percent => value / 100.0,
            Unit::Plain => value,
        }
    }
}
