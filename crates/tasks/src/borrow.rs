//! Items that a task takes from another.

use crate::config::{Data, Source, TaskConfig};
use crate::item::{Item, PerSplit, Split};
use crate::place::Place;
use crate::read::DataFile;
use crate::{Error, Result, Task, provided};
use std::collections::BTreeMap;
use std::path::Path;

/// Puts the items of other tasks where the sources say so; the files that were read for it.
pub fn fill(config: &TaskConfig, items: &mut PerSplit<Vec<Item>>, place: &Place) -> Result<Vec<DataFile>> {
    let Data::Files(files) = &config.data else { return Ok(Vec::new()) };
    let mut lenders: BTreeMap<&str, Task> = BTreeMap::new();
    for split in Split::ALL {
        let Source::Task(name) = files.splits.of(split) else { continue };
        if !lenders.contains_key(name.as_str()) {
            lenders.insert(name, lender(config, name, place)?);
        }
        let lender = &lenders[name.as_str()];
        if split != Split::Train {
            scorable(config, lender)?;
        }
        let lent = lender.items(split);
        let count = files.limit.get(&split).map_or(lent.len(), |limit| lent.len().min(*limit));
        items.of_mut(split).extend_from_slice(&lent[..count]);
    }
    Ok(lenders.into_values().flat_map(|lender| lender.files().to_vec()).collect())
}

/// The other task, with a preset where one is named. It reads its own items, so there is no circle.
fn lender(config: &TaskConfig, name: &str, place: &Place) -> Result<Task> {
    let (task, preset) = name.split_once(':').map_or((name, None), |(task, preset)| (task, Some(preset)));
    let mut other = if Path::new(task).extension().is_some_and(|extension| extension == "toml") {
        let text = std::fs::read_to_string(task).map_err(|source| Error::Io { path: task.into(), source })?;
        TaskConfig::parse(&text, task)?
    } else {
        provided(task)?
    };
    if let Some(preset) = preset {
        other = other.preset(preset)?;
    }
    if let Data::Files(files) = &other.data
        && Split::ALL.iter().any(|split| matches!(files.splits.of(*split), Source::Task(_)))
    {
        return Err(contradiction(config, format!("task `{name}` has no items of its own to lend")));
    }
    Task::load_from(other, place)
}

/// What is answered must have the fields that scoring reads.
fn scorable(config: &TaskConfig, lender: &Task) -> Result<()> {
    let known = lender.config().data.field_names();
    let lacking = config.scoring.engine.fields().into_iter().find(|field| !known.iter().any(|k| k == field));
    match lacking {
        Some(field) => {
            let name = &lender.config().name;
            Err(contradiction(
                config,
                format!("items of task `{name}` have no field `{field}`, which scoring reads"),
            ))
        }
        None => Ok(()),
    }
}

fn contradiction(config: &TaskConfig, reason: String) -> Error {
    Error::Config { origin: config.name.clone(), line: None, reason, hint: None }
}
