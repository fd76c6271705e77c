//! The runs that a pack asks for.

use indexmap::IndexMap;
use serde::Serialize;
use tasks::TaskConfig;

use crate::overlay::{Overlay, Resolved, of_others};
use crate::pack::{Column, Pack, Row};
use crate::procedure::Procedure;

/// The size at which a pack is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// The paper's model and data.
    Paper,
    /// The built-in suite.
    Mini,
}

/// One row on one task, for all seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableRun {
    /// Key of the row.
    pub row: String,
    /// What the paper calls the row.
    pub label: String,
    /// Keys of the columns that it measures.
    pub columns: Vec<String>,
    /// Exact name of the method; `base` is the unadapted model.
    pub method: String,
    /// The task, as `--task` takes it.
    pub task: String,
    /// The task's preset, as `--preset` takes it.
    pub preset: Option<String>,
    /// The suite whose settings come first, as `--suite` takes it.
    pub suite: Option<String>,
    /// The model, as `--model` takes it; the task's when absent.
    pub model: Option<String>,
    /// Settings as `--set` takes them.
    pub overrides: Vec<String>,
    /// How many seeds.
    pub seeds: u64,
    /// Runs of one row with the same value here share one training: their tests are of one adapter.
    pub trained_on: String,
    /// What is done with the method besides training it.
    pub procedure: Procedure,
}

/// A cell of the table that is not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Key of the row, or none for a whole column.
    pub row: Option<String>,
    /// Key of the column, or none for a whole row.
    pub column: Option<String>,
    /// Why.
    pub reason: String,
}

impl TableRun {
    /// A run without what differs between the two sizes.
    fn new(
        (key, row): (&str, &Row),
        (method, task): (&str, &str),
        seeds: u64,
        settings: &[&Overlay],
    ) -> Self {
        let mut overrides = Resolved::new(settings.iter().copied(), method, task).assignments(method);
        overrides.extend(of_others(settings, method, task));
        // It has no settings.
        overrides.retain(|text| !text.starts_with(&format!("methods.{}.", compare::BASE)));
        Self {
            row: key.to_owned(),
            label: row.label.clone(),
            columns: Vec::new(),
            method: method.to_owned(),
            task: task.to_owned(),
            preset: None,
            suite: None,
            model: None,
            overrides,
            // The unadapted model is the same under every seed.
            seeds: if method == compare::BASE { 1 } else { seeds },
            trained_on: task.to_owned(),
            procedure: row.procedure.clone(),
        }
    }

    /// The settings of its method among the overrides: path and value, as TOML.
    pub fn method_overrides(&self) -> impl Iterator<Item = (&str, &str)> {
        let prefix = format!("methods.{}.", self.method);
        self.overrides.iter().filter_map(move |text| text.strip_prefix(&prefix)?.split_once('='))
    }

    /// The task as other places of a pack name it: `TASK`, or `TASK:PRESET`.
    pub fn task_and_preset(&self) -> String {
        let preset = self.preset.iter().map(|preset| format!(":{preset}"));
        std::iter::once(self.task.clone()).chain(preset).collect()
    }

    /// The whole effective task, as a record of this run has it.
    ///
    /// # Errors
    /// For an unknown task or preset, and settings that the task does not have.
    pub fn task_config(&self) -> tasks::Result<TaskConfig> {
        let task = tasks::provided(&self.task)?;
        let task = self.preset.as_deref().map_or(Ok(task.clone()), |preset| task.preset(preset))?;
        let overrides: Vec<(&str, &str)> =
            self.overrides.iter().filter_map(|text| text.strip_prefix("task.")?.split_once('=')).collect();
        if overrides.is_empty() { Ok(task) } else { task.with(&overrides, &self.row) }
    }
}

impl Pack {
    /// The runs at one of the two sizes, row by row.
    pub fn runs(&self, scale: Scale) -> Vec<TableRun> {
        match scale {
            Scale::Paper => self.paper_runs(),
            Scale::Mini => self.mini_runs(),
        }
    }

    /// What is not run at the paper's size, and why.
    pub fn skipped(&self) -> Vec<Skipped> {
        let rows = self.rows.iter().filter_map(|(key, row)| {
            let reason = row.without.as_ref().or(self.models[&row.model].without.as_ref())?;
            Some(Skipped { row: Some(key.clone()), column: None, reason: reason.clone() })
        });
        let columns = self.columns.iter().filter_map(|(key, column)| {
            let reason = column.without.clone()?;
            Some(Skipped { row: None, column: Some(key.clone()), reason })
        });
        rows.chain(columns).collect()
    }

    /// The columns in which a row is scored.
    pub(crate) fn columns_of<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = (&'a String, &'a Column)> {
        self.columns.iter().filter(|(key, _)| row.columns.is_empty() || row.columns.contains(key))
    }

    fn paper_runs(&self) -> Vec<TableRun> {
        let mut runs: Vec<TableRun> = Vec::new();
        for (key, row) in &self.rows {
            let model = &self.models[&row.model];
            let (Some(method), None) = (&row.method, &model.without) else { continue };
            let settings = [&self.settings, &model.settings, &row.settings];
            let first = runs.len();
            for (name, column) in self.columns_of(row) {
                let Some(task) = &column.task else { continue };
                let same = |run: &&mut TableRun| run.task == *task && run.preset == column.preset;
                if let Some(run) = runs[first..].iter_mut().find(same) {
                    run.columns.push(name.clone());
                    continue;
                }
                runs.push(TableRun {
                    columns: vec![name.clone()],
                    preset: column.preset.clone(),
                    model: model.name.clone(),
                    trained_on: column.trained_on.as_ref().unwrap_or(task).clone(),
                    ..TableRun::new((key, row), (method, task), self.seeds, &settings)
                });
            }
        }
        runs
    }

    fn mini_runs(&self) -> Vec<TableRun> {
        let mini = &self.mini;
        let mut tasks: IndexMap<&str, Vec<String>> = IndexMap::new();
        for (column, task) in &mini.columns {
            tasks.entry(task).or_default().push(column.clone());
        }
        let mut runs = Vec::new();
        for (key, small) in &mini.rows {
            let row = &self.rows[key];
            let Some(method) = &row.method else { continue };
            let settings = [&mini.settings, &small.settings];
            for (task, columns) in &tasks {
                runs.push(TableRun {
                    columns: columns.clone(),
                    suite: Some(mini.suite.clone()),
                    procedure: small.procedure.clone().unwrap_or_else(|| row.procedure.clone()),
                    ..TableRun::new((key, row), (method, task), mini.seeds, &settings)
                });
            }
        }
        runs
    }
}
