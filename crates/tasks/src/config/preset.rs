//! Changes of a task file, by hand or by the name of a preset.

use super::TaskConfig;
use crate::error::suggest;
use crate::{Error, Result};
use toml::{Table, Value};

impl TaskConfig {
    /// The same task with some entries replaced, each named by its path (`training.steps`) and given as TOML
    /// (`30`, `"last"`). A value that is no TOML is taken as a string. New `training.steps` take the place of
    /// `training.epochs`, and the other way round.
    ///
    /// # Errors
    /// As [`TaskConfig::parse`]; the origin is then `origin`.
    pub fn with(&self, overrides: &[(&str, &str)], origin: &str) -> Result<Self> {
        self.changed(origin, |root| {
            overrides.iter().try_for_each(|(path, text)| {
                let value = format!("v = {text}").parse().ok().and_then(|mut table: Table| table.remove("v"));
                insert(root, path, value.unwrap_or_else(|| Value::String((*text).to_owned())))
            })
        })
    }

    /// The task with the changes of `[presets.NAME]`, without its presets.
    ///
    /// An entry whose name is a path (`"data.files.splits.train" = { task = "alpaca" }`, in quotes) takes the place of
    /// what is there. An entry that is a table is laid over the table there, entry by entry.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown preset, with the nearest one, and for a changed task that does not hold.
    pub fn preset(&self, name: &str) -> Result<Self> {
        let Some(changes) = self.presets.get(name) else {
            let hint = suggest(name, self.presets.keys().map(String::as_str));
            return Err(Error::Config {
                origin: self.name.clone(),
                line: None,
                reason: format!("no preset is called `{name}`"),
                hint,
            });
        };
        self.changed(&format!("{}, preset {name}", self.name), |root| lay_over(root, changes, ""))
    }

    fn changed(&self, origin: &str, change: impl FnOnce(&mut Value) -> Result<(), String>) -> Result<Self> {
        let before = Value::try_from(self).expect("a task file can be written as TOML");
        let mut root = before.clone();
        change(&mut root).inspect(|()| one_length(&before, &mut root)).map_err(|reason| Error::Config {
            origin: origin.to_owned(),
            line: None,
            reason,
            hint: None,
        })?;
        let text = toml::to_string(&root).expect("TOML values can be written");
        Self::parse(&text, origin).map_err(|error| match error {
            // The text is ours: its lines say nothing to the user.
            Error::Config { origin, reason, hint, .. } => Error::Config { origin, line: None, reason, hint },
            other => other,
        })
    }
}

/// A run has a number of steps or of epochs: what was not changed makes way for what was.
fn one_length(before: &Value, after: &mut Value) {
    let before = &before["training"];
    let Some(after) = after.get_mut("training").and_then(Value::as_table_mut) else { return };
    for (new, old) in [("steps", "epochs"), ("epochs", "steps")] {
        if before.get(new).is_none() && after.contains_key(new) && before.get(old) == after.get(old) {
            after.remove(old);
        }
    }
}

fn lay_over(root: &mut Value, changes: &Table, outer: &str) -> Result<(), String> {
    for (name, value) in changes {
        let path = if outer.is_empty() { name.clone() } else { format!("{outer}.{name}") };
        match value {
            Value::Table(inner) if !name.contains('.') => lay_over(root, inner, &path)?,
            _ => insert(root, &path, value.clone())?,
        }
    }
    Ok(())
}

/// Entries that are a word or a table.
const WORD_OR_TABLE: [&str; 6] = [
    "head",
    "training.order",
    "decoding.strategy",
    "data.files.splits.train",
    "data.files.splits.validation",
    "data.files.splits.test",
];

/// Puts a value at a dotted path; tables on the way are made, also in the place of a word where there may be either;
/// anything else there is an error.
fn insert(root: &mut Value, path: &str, value: Value) -> Result<(), String> {
    let mut at = root;
    let (parents, last) = path.rsplit_once('.').map_or((None, path), |(parents, last)| (Some(parents), last));
    let word_or_table =
        parents.is_some_and(|parents| WORD_OR_TABLE.iter().any(|entry| parents.starts_with(entry)));
    for part in parents.into_iter().flat_map(|parents| parents.split('.')) {
        let table = at.as_table_mut().ok_or_else(|| format!("`{path}`: what holds `{part}` is no table"))?;
        at = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
        if at.is_str() && word_or_table {
            *at = Value::Table(Table::new());
        }
    }
    let table = at.as_table_mut().ok_or_else(|| format!("`{path}`: what holds `{last}` is no table"))?;
    table.insert(last.to_owned(), value);
    Ok(())
}
