//! One name, one thing: runs from anywhere get names that say how they differ.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::outcome::Split;
use crate::record::{RunRecord, Status};
use crate::run::Run;

/// Differences a name spells out; the others are counted.
const SPELLED_OUT: usize = 3;

/// Renames tasks and methods whose one name stands for several things, so that any set of runs can be compared.
///
/// Runs of one task that differ in suite, model, test data or the task's settings become tasks of their own,
/// `nlu (steps=100)` and `nlu (steps=300)`; runs of one method that differ in the method's settings become methods of
/// their own, `lora (lr=0.001)`. What already is one thing keeps its name. The configuration keeps the old names.
#[must_use]
pub fn distinct(mut runs: Vec<Run>) -> Vec<Run> {
    rename(&mut runs, |record| record.task.clone(), Facts::of_task, |record| &mut record.task);
    rename(
        &mut runs,
        |record| (record.task.clone(), record.method.clone()),
        Facts::of_method,
        |record| &mut record.method,
    );
    runs
}

/// For a setting that a configuration lacks.
const UNSET: &str = "–";

/// What decides whether two runs are of one thing, by name.
struct Facts {
    values: BTreeMap<String, String>,
    /// Whether the configuration is known, so that a setting it lacks is a difference.
    configured: bool,
}

/// Hashes, which may be unknown; two runs differ in them only where both are known.
const HASHES: [&str; 2] = ["weights", "data"];

impl Facts {
    /// What makes a task one task.
    fn of_task(record: &RunRecord) -> Self {
        let mut values = BTreeMap::new();
        let task = &record.config["task"];
        if task.is_object() {
            leaves(task, "", &mut values);
        }
        values.insert("suite".into(), record.suite.clone().unwrap_or_else(|| "none".into()));
        values.insert("model".into(), record.model.name.clone());
        let test = record.data.get(&Split::Test).map(|split| &split.hash);
        for (name, hash) in HASHES.iter().zip([record.model.fingerprint.as_ref(), test]) {
            // Enough to tell a few apart.
            values.extend(hash.map(|hash| ((*name).to_owned(), hash.chars().take(8).collect())));
        }
        Self { values, configured: task.is_object() }
    }

    /// What makes a method one method.
    fn of_method(record: &RunRecord) -> Self {
        let mut values = BTreeMap::new();
        if let Value::Object(config) = &record.config {
            // Tasks are told apart by now.
            for (key, value) in config.iter().filter(|(key, _)| *key != "task") {
                leaves(value, key, &mut values);
            }
        }
        Self { values, configured: true }
    }

    /// What this run says of `key`, if anything.
    fn about(&self, key: &str) -> Option<&str> {
        let unset = (self.configured && !HASHES.contains(&key)).then_some(UNSET);
        self.values.get(key).map(String::as_str).or(unset)
    }
}

fn rename<K: Ord>(
    runs: &mut [Run],
    group: impl Fn(&RunRecord) -> K,
    facts: impl Fn(&RunRecord) -> Facts,
    name: impl Fn(&mut RunRecord) -> &mut String,
) {
    let mut groups: BTreeMap<K, Vec<usize>> = BTreeMap::new();
    // What failed knows neither model nor data, and is not shown.
    let shown = |run: &&Run| run.record.status == Status::Success;
    for (position, run) in runs.iter().enumerate().filter(|(_, run)| shown(run)) {
        groups.entry(group(&run.record)).or_default().push(position);
    }
    for members in groups.into_values() {
        let all: Vec<Facts> = members.iter().map(|&i| facts(&runs[i].record)).collect();
        let keys: BTreeSet<&String> = all.iter().flat_map(|facts| facts.values.keys()).collect();
        let differs =
            |key: &str| all.iter().filter_map(|facts| facts.about(key)).collect::<BTreeSet<_>>().len() > 1;
        let differing: Vec<&str> = keys.into_iter().map(String::as_str).filter(|key| differs(key)).collect();
        if differing.is_empty() {
            continue;
        }
        let values = |facts: &Facts| -> Vec<String> {
            differing.iter().map(|key| facts.about(key).unwrap_or(UNSET).to_owned()).collect()
        };
        let kinds: BTreeSet<_> = all.iter().map(values).collect();
        for (&member, facts) in members.iter().zip(&all) {
            let values = values(facts);
            let mut words: Vec<String> = differing
                .iter()
                .zip(&values)
                .take(SPELLED_OUT)
                .map(|(key, value)| word(key, value))
                .collect();
            if differing.len() > SPELLED_OUT {
                let number = kinds.iter().position(|kind| *kind == values).expect("every kind is there") + 1;
                words.push(format!("+{} more, {number}", differing.len() - SPELLED_OUT));
            }
            let name = name(&mut runs[member].record);
            *name = format!("{name} ({})", words.join(", "));
        }
    }
}

/// `lr=0.001` for `method.settings.optimizer.lr`.
fn word(key: &str, value: &str) -> String {
    let last = key.rsplit('.').next().unwrap_or(key);
    format!("{last}={value}")
}

/// Every value of a configuration by its dotted path; keys called `seed` decide nothing.
fn leaves(value: &Value, path: &str, facts: &mut BTreeMap<String, String>) {
    let Value::Object(object) = value else {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        facts.insert(path.to_owned(), text);
        return;
    };
    for (key, value) in object.iter().filter(|(key, _)| *key != "seed") {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        leaves(value, &path, facts);
    }
}
