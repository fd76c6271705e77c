//! What a check compares with, on disk.

use std::path::{Path, PathBuf};

use compare::Store;
use compare::gate::Measurements;

use super::Tree;
use crate::Result;

/// The folder of a baseline: `check.json` with the measurements, `records/` with the runs and their outcomes.
#[derive(Clone, Debug)]
pub struct Baseline {
    folder: PathBuf,
}

impl Baseline {
    /// In `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether there is one.
    pub fn exists(&self) -> bool {
        self.folder.join(Measurements::FILE).exists()
    }

    /// Reads it.
    ///
    /// # Errors
    /// If a file is missing or damaged.
    pub fn read(&self) -> Result<Tree> {
        let measurements = Measurements::read(&self.folder)?;
        let runs = compare::latest(compare::collect(&self.records())?).runs;
        Ok(Tree { runs, measurements })
    }

    /// Puts `tree` in its place. The old one stays until the new one is written.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn replace(&self, tree: &Tree) -> Result<()> {
        let io = |path: &Path| {
            let path = path.to_owned();
            |source| peft_core::Error::io(path, source)
        };
        let (records, new) = (self.records(), self.folder.join("records.new"));
        if new.exists() {
            std::fs::remove_dir_all(&new).map_err(io(&new))?;
        }
        let store = Store::new(&new);
        for run in &tree.runs {
            store.save(run)?;
        }
        if records.exists() {
            std::fs::remove_dir_all(&records).map_err(io(&records))?;
        }
        std::fs::rename(&new, &records).map_err(io(&records))?;
        Ok(tree.measurements.write(&self.folder)?)
    }

    fn records(&self) -> PathBuf {
        self.folder.join("records")
    }
}
