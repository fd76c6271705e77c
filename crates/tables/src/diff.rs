//! In which settings two packs differ.

use compare::table::{Cell, Column, Emphasis, Row, Section, Table};
use indexmap::{IndexMap, IndexSet};
use serde_json::Value;

use crate::overlay::{Resolved, leaves};
use crate::pack::Pack;
use crate::plan::{Scale, TableRun};

/// What one pack says of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// The paper, or its code, says it: the values of all rows and tasks, each once.
    Said(Vec<String>),
    /// It does not; this is what we chose.
    Unsaid(Vec<String>),
    /// Nobody says it: a task file's own value, by which the harness goes.
    Default(Vec<String>),
    /// There is no such setting.
    Absent,
}

/// A setting in which two packs differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The setting: `task.training.epochs`, `method.dora.rank`, …
    pub setting: String,
    /// What the first pack says.
    pub first: Side,
    /// What the second says.
    pub second: Side,
}

/// In which settings two packs differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsDiff {
    /// Name of the first pack.
    pub first: String,
    /// Name of the second.
    pub second: String,
    /// Settings that differ, or that only one of them says.
    pub differences: Vec<Difference>,
    /// How many settings are equal.
    pub equal: usize,
}

/// Compares the papers' settings: models, columns, how tasks are trained and answered (presets and all), and what is said
/// about each method. Where we do otherwise than a paper, what the paper does counts.
pub fn diff(first: &Pack, second: &Pack) -> SettingsDiff {
    let (a, b) = (settings(first), settings(second));
    let names: IndexSet<&String> = a.keys().chain(b.keys()).collect();
    let side = |settings: &IndexMap<String, Side>, name: &String| {
        settings.get(name).cloned().unwrap_or(Side::Absent)
    };
    let all = names.into_iter().map(|name| Difference {
        setting: name.clone(),
        first: side(&a, name),
        second: side(&b, name),
    });
    let (equal, differences): (Vec<_>, Vec<_>) = all.partition(|both| both.first == both.second);
    SettingsDiff { first: first.name.clone(), second: second.name.clone(), differences, equal: equal.len() }
}

/// Every setting of a pack.
fn settings(pack: &Pack) -> IndexMap<String, Side> {
    let mut values: IndexMap<String, IndexSet<String>> = IndexMap::new();
    let mut add = |name: String, value: String| values.entry(name).or_default().insert(value);
    let mut defaults: IndexMap<String, IndexSet<String>> = IndexMap::new();
    for model in pack.models.values() {
        add("model".to_owned(), model.name.clone().unwrap_or_else(|| model.label.clone()));
    }
    for column in pack.columns.values().filter(|column| column.average_of.is_empty()) {
        add("columns".to_owned(), column.label.clone());
    }
    let runs = pack.runs(Scale::Paper);
    for run in &runs {
        let task = run.task_config().expect("a pack is checked when it is read");
        let task = serde_json::to_value(task).expect("a task is plain data");
        let said = said(run);
        for (path, value) in task_settings(&task) {
            if said.iter().any(|said| path == *said || path.starts_with(&format!("{said}."))) {
                add(path, value);
            } else {
                defaults.entry(path).or_default().insert(value);
            }
        }
    }
    for (key, row) in &pack.rows {
        let Some(method) = &row.method else { continue };
        let layers = [&pack.settings, &pack.models[&row.model].settings, &row.settings];
        let tasks: IndexSet<&str> =
            runs.iter().filter(|run| run.row == *key).map(|run| run.task.as_str()).collect();
        // Where nothing can be run the settings are still to be read.
        for task in if tasks.is_empty() { IndexSet::from([""]) } else { tasks } {
            let resolved = Resolved::new(layers, method, task);
            for (path, value) in leaves(&resolved.method, &format!("method.{method}")) {
                add(path, value.to_string());
            }
            if task.is_empty() {
                for (path, value) in leaves(&resolved.task, "task") {
                    add(path, value.to_string());
                }
            }
        }
    }
    // What is said for one task and left to its file for another stands together.
    for (name, said) in &mut values {
        said.extend(defaults.swap_remove(name).unwrap_or_default());
    }
    let unsaid = |name: &str| pack.unsaid.iter().any(|unsaid| unsaid.setting == name);
    let mut settings: IndexMap<String, Side> = values
        .into_iter()
        .map(|(name, values)| {
            let values = values.into_iter().collect();
            let side = if unsaid(&name) { Side::Unsaid(values) } else { Side::Said(values) };
            (name, side)
        })
        .collect();
    for (name, values) in defaults {
        let values = values.into_iter().collect();
        let side = if unsaid(&name) { Side::Unsaid(values) } else { Side::Default(values) };
        settings.entry(name).or_insert(side);
    }
    for unsaid in &pack.unsaid {
        settings.entry(unsaid.setting.clone()).or_insert_with(|| Side::Unsaid(vec![unsaid.chosen.clone()]));
    }
    for deviation in &pack.deviations {
        settings.insert(deviation.setting.clone(), Side::Said(vec![deviation.paper.clone()]));
    }
    settings
}

/// The paths that a pack, or the preset that it names, sets in the task of a run.
fn said(run: &TableRun) -> Vec<String> {
    let task = tasks::provided(&run.task).expect("a pack is checked when it is read");
    let preset = run.preset.as_ref().and_then(|name| task.presets.get(name));
    let of_preset = preset.into_iter().flat_map(|preset| leaves(preset, "task")).map(|(path, _)| path);
    let own = run.overrides.iter().filter_map(|assignment| assignment.split_once('='));
    own.map(|(path, _)| path.to_owned()).chain(of_preset).collect()
}

/// What of a task decides a score besides its data: how it is trained and answered.
fn task_settings(task: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (path, pointer) in
        [("task.training", "/training"), ("task.prompt.loss", "/prompt/loss"), ("task.decoding", "/decoding")]
    {
        if let Some(value) = task.pointer(pointer) {
            flatten(value, path, &mut found);
        }
    }
    found.retain(|(path, _)| path != "task.training.model");
    found
}

fn flatten(value: &Value, path: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                flatten(value, &format!("{path}.{key}"), found);
            }
        }
        other => found.push((path.to_owned(), other.to_string())),
    }
}

impl Side {
    fn text(&self) -> String {
        match self {
            Self::Said(values) => several(values),
            Self::Unsaid(values) => format!("unsaid; chosen: {}", several(values)),
            Self::Default(values) => format!("not stated; task file: {}", several(values)),
            Self::Absent => "–".to_owned(),
        }
    }
}

/// Values of several rows or tasks side by side; of very many, how many.
fn several(values: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = values.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(" | ");
    if values.len() > SHOWN { format!("{shown} | … {} in all", values.len()) } else { shown }
}

impl SettingsDiff {
    /// One row for each setting that differs.
    pub fn table(&self) -> Table {
        let text = |side: &Side| Cell::Text(side.text());
        let rows = self.differences.iter().map(|difference| Row {
            cells: vec![
                Cell::Text(difference.setting.clone()),
                text(&difference.first),
                text(&difference.second),
            ],
            emphasis: Emphasis::None,
        });
        Table {
            title: format!("Settings: {} (first) against {} (second)", self.first, self.second),
            labels: Vec::new(),
            columns: vec![
                Column::left("setting", &["setting"]),
                Column::left("first", &["first"]),
                Column::left("second", &["second"]),
            ],
            sections: vec![Section { labels: Vec::new(), rows: rows.collect() }],
            notes: vec![
                format!("Equal: {} settings.", self.equal),
                "Values of several rows or tasks stand side by side; – is no such setting.".to_owned(),
            ],
        }
    }
}
