//! Items from files: fields, rewrites and splits.

use crate::config::{Files, Source};
use crate::item::{Fields, PerSplit, Split};
use crate::read::{DataFile, Record, read};
use crate::{Error, Result};
use regex::Regex;
use sha2::{Digest, Sha256};
use std::path::Path;

/// The fields of every item, and the files they were read from.
pub fn load(task: &str, files: &Files, root: &Path) -> Result<(PerSplit<Vec<Fields>>, Vec<DataFile>)> {
    let mut seen = Vec::new();
    let mut own = PerSplit::try_from_fn(|split| match files.splits.of(split) {
        Source::File(path) => from_files(files, root, std::slice::from_ref(path), &mut seen),
        Source::Files(paths) => from_files(files, root, paths, &mut seen),
        Source::LastOfTrain(_) | Source::HashedOfTrain(_) => Ok(Vec::new()),
    })?;
    // The test split is taken off first, so that the validation split cannot change it.
    for split in [Split::Test, Split::Validation] {
        let taken = match files.splits.of(split) {
            Source::LastOfTrain(count) => take_last(&mut own.train, *count),
            Source::HashedOfTrain(count) => take_hashed(&mut own.train, *count),
            Source::File(_) | Source::Files(_) => continue,
        };
        let taken = taken.map_err(|(wanted, found)| Error::TooFewItems {
            task: task.to_owned(),
            split: split.name(),
            wanted,
            found,
        })?;
        match split {
            Split::Test => own.test = taken,
            _ => own.validation = taken,
        }
    }
    for (split, items) in [
        (Split::Train, &mut own.train),
        (Split::Validation, &mut own.validation),
        (Split::Test, &mut own.test),
    ] {
        if let Some(limit) = files.limit.get(&split) {
            items.truncate(*limit);
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
    paths: &[std::path::PathBuf],
    seen: &mut Vec<DataFile>,
) -> Result<Vec<Fields>> {
    let patterns: Vec<_> = files
        .rewrite
        .iter()
        .map(|rewrite| Regex::new(&rewrite.pattern).expect("patterns are checked when the file is parsed"))
        .collect();
    let mut items = Vec::new();
    for path in paths {
        seen.push(read(root, path, files.format, |record| {
            items.push(fields(files, &patterns, &record)?);
            Ok(())
        })?);
    }
    Ok(items)
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
