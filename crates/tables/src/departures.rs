//! In what a run was made otherwise than its table asks.

use compare::RunRecord;
use serde_json::Value;

use crate::plan::TableRun;

/// At most so many are named.
const NAMED: usize = 4;

/// What the record of a run says otherwise than the plan: model, task and method settings. A record without a
/// configuration departs, since nobody can tell.
pub(crate) fn departures(run: &TableRun, record: &RunRecord) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(model) = &run.model
        && last_part(model) != last_part(&record.model.name)
    {
        found.push(format!("model `{}`, not `{model}`", record.model.name));
    }
    let expected = run.task_config().expect("a pack is checked when it is read");
    let expected = serde_json::to_value(expected).expect("a task is plain data");
    match record.config.get("task") {
        Some(task) => differing(&expected, task, "", &mut found),
        None => found.push("its settings are not recorded".to_owned()),
    }
    let settings = record.config.pointer("/method/settings").unwrap_or(&Value::Null);
    for (path, text) in run.method_overrides() {
        let value: toml::Table = format!("v = {text}").parse().expect("an override is TOML");
        let expected = serde_json::to_value(&value["v"]).expect("a TOML value is plain data");
        let actual = path.split('.').try_fold(settings, |at, part| at.get(part)).unwrap_or(&Value::Null);
        if !same(&expected, actual) {
            found.push(format!("`{path}` is {actual}, not {expected}"));
        }
    }
    if found.len() > NAMED {
        let more = found.len() - NAMED;
        found.truncate(NAMED);
        found.push(format!("and {more} more"));
    }
    found
}

/// A name on the hub and a folder with its files are one model when they end alike.
fn last_part(model: &str) -> String {
    let model = model.split('@').next().unwrap_or_default();
    model.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default().to_lowercase()
}

/// Entries that say nothing about a score, or are compared elsewhere.
const ASIDE: [&str; 3] = ["name", "description", "training.model"];

fn differing(expected: &Value, actual: &Value, path: &str, found: &mut Vec<String>) {
    if let (Value::Object(a), Value::Object(b)) = (expected, actual) {
        for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let side = |side: &serde_json::Map<String, Value>| side.get(key).cloned().unwrap_or(Value::Null);
            if !ASIDE.contains(&path.as_str()) {
                differing(&side(a), &side(b), &path, found);
            }
        }
    } else if !same(expected, actual) {
        found.push(format!("`{path}` is {actual}, not {expected}"));
    }
}

/// Numbers are the same when their values are: 1 is 1.0.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        _ => a == b,
    }
}
