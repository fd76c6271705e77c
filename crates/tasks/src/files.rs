//! Items from files: fields, rewrites, filters, groups and splits.

use crate::config::{Files, Filter, Group, Source};
use crate::item::{Fields, PerSplit, Split};
use crate::read::{DataFile, Record, read};
use crate::{Error, Result};
use indexmap::IndexMap;
use regex::Regex;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The fields of every item, and the files they were read from.
pub fn load(task: &str, files: &Files, root: &Path) -> Result<(PerSplit<Vec<Fields>>, Vec<DataFile>)> {
    let mut seen = Vec::new();
    let mut own = PerSplit::try_from_fn(|split| match files.splits.of(split) {
        Source::File(path) => from_files(files, root, split, std::slice::from_ref(path), &mut seen),
        Source::Files(paths) => from_files(files, root, split, paths, &mut seen),
        _ => Ok(Vec::new()),
    })?;
    // The test split is taken off first, so that the validation split cannot change it.
    for split in [Split::Test, Split::Validation] {
        let taken = match files.splits.of(split) {
            Source::LastOfTrain(count) => take_last(&mut own.train, *count),
            Source::HashedOfTrain(count) => take_hashed(&mut own.train, *count),
            _ => continue,
        };
        let taken = taken.map_err(|(wanted, found)| Error::TooFewItems {
            task: task.to_owned(),
            split: split.name(),
            wanted,
            found,
        })?;
        *own.of_mut(split) = taken;
    }
    for split in Split::ALL {
        if let Some(limit) = files.limit.get(&split) {
            own.of_mut(split).truncate(*limit);
        }
        if own.of(split).is_empty() && !files.splits.of(split).paths().is_empty() {
            let (task, split) = (task.to_owned(), split.name());
            return Err(Error::TooFewItems { task, split, wanted: 1, found: 0 });
        }
    }
    Ok((own, seen))
}

/// SHA-256 of the fields in hexadecimal: what tells two items of a file apart.
pub fn key(fields: &Fields) -> String {
    let mut hash = Sha256::new();
    for (name, value) in fields {
        for part in [name, value] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
    }
    hex::encode(hash.finalize())
}

fn from_files(
    files: &Files,
    root: &Path,
    split: Split,
    paths: &[PathBuf],
    seen: &mut Vec<DataFile>,
) -> Result<Vec<Fields>> {
    let patterns: Vec<_> = files
        .rewrite
        .iter()
        .map(|rewrite| Regex::new(&rewrite.pattern).expect("patterns are checked when the file is parsed"))
        .collect();
    let mut items = Vec::new();
    for path in paths {
        seen.push(read(root, path, files, |record| {
            let fields = fields(files, &patterns, &record)?;
            if keeps(files, split, &fields, &record)? {
                items.push(fields);
            }
            Ok(())
        })?);
    }
    Ok(match &files.group {
        Some(group) => group_rows(items, group, split),
        None => items,
    })
}

fn fields(files: &Files, patterns: &[Regex], record: &Record<'_>) -> Result<Fields> {
    let mut fields = Fields::new();
    for (name, theirs) in &files.fields {
        fields.insert(name.clone(), record.text(theirs)?);
    }
    for (rewrite, pattern) in files.rewrite.iter().zip(patterns) {
        let made = pattern.replace_all(&fields[&rewrite.from], rewrite.with.as_str()).into_owned();
        fields.insert(rewrite.field.clone(), made);
    }
    Ok(fields)
}

/// Whether every filter of the split lets the item through.
fn keeps(files: &Files, split: Split, fields: &Fields, record: &Record<'_>) -> Result<bool> {
    for Filter { field, min, max, one_of, none_of } in files.filter.get(&split).into_iter().flatten() {
        let value = &fields[field];
        if min.is_some() || max.is_some() {
            let number: f64 = value.trim().parse().map_err(|_| {
                record.error(format!("`{value}` in field `{field}`, which is filtered, is no number"), None)
            })?;
            if min.is_some_and(|min| number < min) || max.is_some_and(|max| number > max) {
                return Ok(false);
            }
        }
        if one_of.as_ref().is_some_and(|texts| !texts.contains(value)) || none_of.contains(value) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// One item for the rows that share a value, in the order of the first of each.
fn group_rows(rows: Vec<Fields>, group: &Group, split: Split) -> Vec<Fields> {
    let mut groups: IndexMap<String, (Fields, Vec<String>)> = IndexMap::new();
    for (index, row) in rows.into_iter().enumerate() {
        let key = if group.splits.contains(&split) { row[&group.by].clone() } else { index.to_string() };
        let text = row[&group.from].clone();
        groups.entry(key).or_insert_with(|| (row, Vec::new())).1.push(text);
    }
    groups
        .into_values()
        .map(|(mut fields, texts)| {
            let list = serde_json::to_string(&texts).expect("texts can be written as JSON");
            fields.insert(group.field.clone(), list);
            fields
        })
        .collect()
}

/// Splits off the last `count`; at least one item must stay.
fn take_last(train: &mut Vec<Fields>, count: usize) -> Result<Vec<Fields>, (usize, usize)> {
    if count >= train.len() {
        return Err((count, train.len().saturating_sub(1)));
    }
    Ok(train.split_off(train.len() - count))
}

/// Takes the `count` items with the smallest keys, in their order in the file. Equal items have equal keys: as
/// many more are taken as the last key has copies.
fn take_hashed(train: &mut Vec<Fields>, count: usize) -> Result<Vec<Fields>, (usize, usize)> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let keys: Vec<_> = train.iter().map(key).collect();
    let mut sorted: Vec<_> = keys.iter().collect();
    sorted.sort_unstable();
    let bound = sorted.get(count - 1).copied().cloned();
    match bound {
        Some(bound) if sorted.last().is_some_and(|last| **last > bound) => {
            let (taken, left) =
                std::mem::take(train).into_iter().zip(keys).partition::<Vec<_>, _>(|(_, key)| *key <= bound);
            *train = left.into_iter().map(|(fields, _)| fields).collect();
            Ok(taken.into_iter().map(|(fields, _)| fields).collect())
        }
        _ => Err((count, train.len().saturating_sub(1))),
    }
}
