//! Contradictions in a pack that is well-formed.

use crate::error::{Error, Result, suggest};
use crate::pack::{Column, Pack, Row};
use crate::plan::Scale;
use crate::procedure::Procedure;
use crate::provided::methods;

/// A place in a pack, for messages.
struct Place<'a> {
    origin: &'a str,
    at: String,
}

impl Place<'_> {
    fn wrong<T>(&self, reason: impl std::fmt::Display) -> Result<T> {
        Err(Error::pack(self.origin, format!("{}: {reason}", self.at), None))
    }

    /// `name` is one of `known`.
    fn known<'k>(&self, what: &str, name: &str, known: impl Iterator<Item = &'k str>) -> Result<()> {
        let known: Vec<&str> = known.collect();
        if known.contains(&name) {
            return Ok(());
        }
        let reason = format!("{}: no {what} is called `{name}`", self.at);
        Err(Error::pack(self.origin, reason, suggest(name, known)))
    }

    fn task(&self, name: &str) -> Result<()> {
        let name = name.split_once(':').map_or(name, |(task, _)| task);
        self.known("task", name, tasks::PROVIDED.iter().map(|(name, _)| *name))
    }
}

impl Pack {
    pub(crate) fn check(&self, origin: &str) -> Result<()> {
        let place = |at: String| Place { origin, at };
        for (key, model) in &self.models {
            if model.name.is_some() == model.without.is_some() {
                return place(format!("model `{key}`")).wrong("it needs either `name` or `without`");
            }
        }
        for (index, (key, column)) in self.columns.iter().enumerate() {
            self.check_column(&place(format!("column `{key}`")), column, index)?;
        }
        for (key, row) in &self.rows {
            self.check_row(&place(format!("row `{key}`")), row)?;
        }
        for claim in &self.claims {
            let place = place("a claim".to_owned());
            place.known("row", &claim.first, self.rows.keys().map(String::as_str))?;
            place.known("row", &claim.second, self.rows.keys().map(String::as_str))?;
            for column in &claim.columns {
                place.known("column", column, self.columns.keys().map(String::as_str))?;
            }
        }
        let cells = self.rows.values().map(|row| row.cells.len()).sum::<usize>();
        if (cells == 0) != self.no_cells.is_some() {
            return place("`no_cells`".to_owned()).wrong("it says why there are no cells, and only then");
        }
        self.check_mini(&place("`mini`".to_owned()))?;
        self.check_settings(origin)
    }

    fn check_column(&self, place: &Place<'_>, column: &Column, index: usize) -> Result<()> {
        let sources = [column.task.is_some(), !column.average_of.is_empty(), column.without.is_some()];
        if sources.iter().filter(|source| **source).count() != 1 {
            return place.wrong("it needs one of `task`, `average_of` and `without`");
        }
        for part in &column.average_of {
            place.known("column before it", part, self.columns.keys().take(index).map(String::as_str))?;
        }
        let Some(task) = &column.task else { return Ok(()) };
        place.task(task)?;
        let config = tasks::provided(task).and_then(|config| match &column.preset {
            Some(preset) => config.preset(preset),
            None => Ok(config),
        });
        let config = match config {
            Ok(config) => config,
            Err(error) => return place.wrong(error),
        };
        let Some(metric) = &column.metric else { return place.wrong("`metric` says what the task measures") };
        let metrics = tasks::Scorer::new(&config.scoring);
        place.known("metric of its task", metric, metrics.metrics().iter().map(|m| m.name))
    }

    fn check_row(&self, place: &Place<'_>, row: &Row) -> Result<()> {
        place.known("model", &row.model, self.models.keys().map(String::as_str))?;
        if row.method.is_some() == row.without.is_some() {
            return place.wrong("it needs either `method` or `without`");
        }
        if let Some(method) = &row.method {
            let known = methods();
            place.known("method", method, known.iter().map(String::as_str).chain([compare::BASE]))?;
        }
        for column in row.cells.keys().chain(&row.columns) {
            place.known("column", column, self.columns.keys().map(String::as_str))?;
        }
        match &row.procedure {
            Procedure::Continual { first } => place.task(first),
            _ => Ok(()),
        }
    }

    fn check_mini(&self, place: &Place<'_>) -> Result<()> {
        if self.mini.seeds == 0 || self.seeds == 0 {
            return place.wrong("a run has at least one seed");
        }
        for (column, task) in &self.mini.columns {
            place.known("column", column, self.columns.keys().map(String::as_str))?;
            place.task(task)?;
        }
        let mut model = None;
        for (key, small) in &self.mini.rows {
            place.known("row", key, self.rows.keys().map(String::as_str))?;
            let row = &self.rows[key];
            if row.method.is_none() {
                return place.wrong(format!("row `{key}` has no method"));
            }
            if *model.get_or_insert(&row.model) != &row.model {
                return place.wrong(format!("row `{key}` is of another model than the first"));
            }
            if let Some(Procedure::Continual { first }) = &small.procedure {
                place.task(first)?;
            }
        }
        if self.mini.rows.is_empty() || self.mini.columns.is_empty() {
            return place.wrong("it needs rows and columns");
        }
        Ok(())
    }

    /// Every task takes the settings that are laid over it.
    fn check_settings(&self, origin: &str) -> Result<()> {
        for run in [Scale::Paper, Scale::Mini].into_iter().flat_map(|scale| self.runs(scale)) {
            run.task_config().map_err(|source| Error::Task {
                origin: origin.to_owned(),
                row: run.row.clone(),
                task: run.task.clone(),
                source: Box::new(source),
            })?;
        }
        Ok(())
    }
}
