//! Reading records of every version ever written.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::record::RunRecord;

/// Turns a record of one schema into the next; the `schema` number is raised for it.
type Migration = fn(Value) -> Result<Value>;

/// `MIGRATIONS[k]` leads from schema `k + 1` to `k + 2`. A released migration never changes.
const MIGRATIONS: &[Migration] = &[
    // 2: runs may learn several tasks one after another.
    |mut value| {
        value["sequence"] = Value::Null;
        Ok(value)
    },
    // 3: the files that the data were read from.
    |mut value| {
        value["files"] = Value::Array(Vec::new());
        Ok(value)
    },
];

/// The schema this version writes.
pub const SCHEMA: u64 = MIGRATIONS.len() as u64 + 1;

/// Parses a record of this or an older schema. `origin` names the file in errors.
///
/// # Errors
/// [`Error::Json`] for text that is not a record, [`Error::NoSchema`], [`Error::NewerSchema`], and [`Error::Record`]
/// for a record that contradicts itself.
pub fn parse(text: &str, origin: &str) -> Result<RunRecord> {
    let json = |source| Error::Json { what: "run record", origin: origin.to_owned(), source };
    let value = serde_json::from_str(text).map_err(json)?;
    let record: RunRecord = serde_json::from_value(upgrade(value, MIGRATIONS, origin)?).map_err(json)?;
    record.check()?;
    Ok(record)
}

fn upgrade(mut value: Value, migrations: &[Migration], origin: &str) -> Result<Value> {
    let newest = migrations.len() as u64 + 1;
    let found = value["schema"]
        .as_u64()
        .filter(|&schema| schema > 0)
        .ok_or_else(|| Error::NoSchema { origin: origin.to_owned() })?;
    if found > newest {
        return Err(Error::NewerSchema { origin: origin.to_owned(), found, newest });
    }
    for (next, migrate) in (2..).zip(migrations).skip(found as usize - 1) {
        value = migrate(value)?;
        value["schema"] = Value::from(next);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Two invented steps: a key gets a new name, then a unit.
    const CHAIN: &[Migration] = &[
        |mut value| {
            value["seconds"] = value["time"].take();
            value.as_object_mut().expect("an object").shift_remove("time");
            Ok(value)
        },
        |mut value| {
            value["milliseconds"] = json!(value["seconds"].as_u64().expect("a number") * 1000);
            value.as_object_mut().expect("an object").shift_remove("seconds");
            Ok(value)
        },
    ];

    #[test]
    fn old_records_pass_through_every_later_step() {
        let newest = json!({"schema": 3, "milliseconds": 7000});
        for old in [json!({"schema": 1, "time": 7}), json!({"schema": 2, "seconds": 7}), newest.clone()] {
            assert_eq!(upgrade(old, CHAIN, "a.json").unwrap(), newest);
        }
    }

    #[test]
    fn unknown_schemas_are_named() {
        let newer = upgrade(json!({"schema": 4}), CHAIN, "a.json").unwrap_err();
        assert_eq!(newer.to_string(), "`a.json` has schema 4, but this version reads up to 3");
        assert!(newer.hint().is_some());
        for none in [json!({}), json!({"schema": "1"}), json!({"schema": 0}), json!([1])] {
            assert!(matches!(upgrade(none, CHAIN, "a.json"), Err(Error::NoSchema { .. })));
        }
    }
}
