//! What must be equal before runs are pooled or compared.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::metric::MetricValue;
use crate::outcome::Split;
use crate::record::{RunRecord, Status};

/// Only a run that succeeded is reported.
pub(crate) fn check_finished(record: &RunRecord) -> Result<()> {
    match &record.status {
        Status::Success => Ok(()),
        status => Err(Error::NotFinished { id: record.id.clone(), status: status.to_string() }),
    }
}

/// Runs of one task: one suite, one model, one test set. Hashes are compared where both are known.
pub(crate) fn check_task(a: &RunRecord, b: &RunRecord) -> Result<()> {
    let both = |x: Option<&String>, y: Option<&String>| x.zip(y).is_some_and(|(x, y)| x != y);
    let test = |record: &RunRecord| record.data.get(&Split::Test).map(|split| split.hash.clone());
    let suite = |record: &RunRecord| record.suite.clone().unwrap_or_else(|| "none".into());
    let reason = if a.suite != b.suite {
        format!("their suites are `{}` and `{}`, which may train differently", suite(a), suite(b))
    } else if a.model.name != b.model.name {
        format!("their models are `{}` and `{}`", a.model.name, b.model.name)
    } else if both(a.model.fingerprint.as_ref(), b.model.fingerprint.as_ref()) {
        format!("their models `{}` have different weights", a.model.name)
    } else if both(test(a).as_ref(), test(b).as_ref()) {
        "their test data differ".to_owned()
    } else {
        return Ok(());
    };
    Err(different(a, b, reason))
}

/// Seeds of one method: nothing but the seed may differ.
pub(crate) fn check_pool(a: &RunRecord, b: &RunRecord) -> Result<()> {
    match first_difference(&a.config, &b.config) {
        None => Ok(()),
        Some(key) => {
            Err(different(a, b, format!("they are seeds of one method, but their configs differ at `{key}`")))
        }
    }
}

/// Values of one metric: one rule.
pub(crate) fn check_metric(a: (&RunRecord, &MetricValue), b: (&RunRecord, &MetricValue)) -> Result<()> {
    let (x, y) = (a.1, b.1);
    let reason = if x.version != y.version {
        format!("versions `{}` and `{}`", x.version, y.version)
    } else if (x.better, x.scale, x.aggregate) != (y.better, y.scale, y.aggregate) {
        "its definition differs".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::MixedMetric {
        task: a.0.task.clone(),
        metric: x.name.clone(),
        first: a.0.id.clone(),
        second: b.0.id.clone(),
        reason,
    })
}

/// The error for two runs of one task that do not belong together.
pub(crate) fn different(a: &RunRecord, b: &RunRecord, reason: String) -> Error {
    Error::DifferentItems { task: a.task.clone(), first: a.id.clone(), second: b.id.clone(), reason }
}

/// Dotted path of the first value that differs, keys called `seed` aside.
fn first_difference(a: &Value, b: &Value) -> Option<String> {
    let (Value::Object(x), Value::Object(y)) = (a, b) else {
        return (a != b).then(String::new);
    };
    let keys = x.keys().chain(y.keys().filter(|key| !x.contains_key(*key)));
    keys.filter(|key| *key != "seed").find_map(|key| {
        let below = match (x.get(key), y.get(key)) {
            (Some(a), Some(b)) => first_difference(a, b)?,
            _ => String::new(),
        };
        Some(if below.is_empty() { key.clone() } else { format!("{key}.{below}") })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::first_difference;

    #[test]
    fn the_first_differing_key_is_named() {
        let a = json!({"task": {"lr": 1, "seed": 0}, "x": [1]});
        assert_eq!(first_difference(&a, &json!({"x": [1], "task": {"seed": 5, "lr": 1}})), None);
        assert_eq!(first_difference(&a, &json!({"task": {"lr": 2}, "x": [1]})).unwrap(), "task.lr");
        assert_eq!(first_difference(&a, &json!({"task": {"lr": 1}, "x": [2]})).unwrap(), "x");
        assert_eq!(first_difference(&a, &json!({"task": {"lr": 1}})).unwrap(), "x");
        assert_eq!(first_difference(&json!({}), &a).unwrap(), "task");
    }
}
