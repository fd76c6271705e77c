//! Finished cells on disk, found again by what decides their outcome, so that none is run twice.
//!
//! `cells/<key>.safetensors` holds the trained tensors under the names the method gives them (an adapter's own file may pack,
//! prune or rename them), and says where the record is. It is written last: a cell without it is not finished.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use compare::{Run, Status, Store};
use peft_core::StateDict;
use peft_core::tensor_file::{self, Metadata, TensorFile};
use serde_json::{Value, json};
use tasks::Split;

use crate::Result;
use crate::run::Context;

/// In an adapter's folder: the key of the cell it belongs to.
const OWNER: &str = "cell";
/// In the metadata: the record's path, below the folder of records.
const RECORD: &str = "record";
/// In the metadata: what the key was made from, for people.
const CELL: &str = "cell";

/// The finished cells of an output folder.
#[derive(Clone, Debug)]
pub struct Cells {
    folder: PathBuf,
    records: Store,
}

/// Everything that decides the outcome of a cell, hashed.
#[derive(Clone, Debug)]
pub struct CellKey {
    hash: String,
    described: String,
}

impl CellKey {
    /// Of a description whose keys are always in the same order.
    pub fn new(description: &Value) -> Self {
        let described = description.to_string();
        let hash = blake3::hash(described.as_bytes()).to_hex()[..20].to_owned();
        Self { hash, described }
    }

    /// The hash.
    pub fn as_str(&self) -> &str {
        &self.hash
    }

    /// The folder of this cell's adapter: `usual`, or, where that belongs to a cell with other settings, one beside it.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn folder(&self, usual: &Path) -> Result<PathBuf> {
        let name = usual.file_name().unwrap_or_default().to_string_lossy();
        let own = usual.with_file_name(format!("{name}-{}", &self.hash[..8]));
        for folder in [usual, &own] {
            std::fs::create_dir_all(folder).map_err(|source| peft_core::Error::io(folder, source))?;
            let owner = folder.join(OWNER);
            match compare::write_new(&owner, self.hash.as_bytes()) {
                Ok(()) => return Ok(folder.to_owned()),
                Err(compare::Error::AlreadyStored { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let hash = std::fs::read_to_string(&owner);
            if hash.map_err(|source| peft_core::Error::io(&owner, source))? == self.hash {
                return Ok(folder.to_owned());
            }
        }
        Ok(own)
    }
}

impl Cells {
    /// Those in `folder`, whose records are in `records`.
    pub fn new(folder: PathBuf, records: Store) -> Self {
        Self { folder, records }
    }

    /// What the finished cells were made from, by key: of each the surroundings and the rest. Neither tensors nor outcomes are
    /// read, so a damaged one may be among them.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn described(&self) -> Result<BTreeMap<String, [Value; 2]>> {
        let mut all = BTreeMap::new();
        if !self.folder.exists() {
            return Ok(all);
        }
        let failed = |source| peft_core::Error::io(&self.folder, source);
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            // A process that was killed while it wrote leaves a temporary file, which is no cell.
            if path.extension().is_none_or(|extension| extension != "safetensors") {
                continue;
            }
            let Ok(file) = TensorFile::open(&path) else { continue };
            let text = |name: &str| file.metadata().get(name);
            let is_recorded = text(RECORD).is_some_and(|record| self.records.root().join(record).exists());
            let described = text(CELL).and_then(|cell| serde_json::from_str(cell).ok());
            if let (Some(stem), true, Some(described)) = (path.file_stem(), is_recorded, described) {
                all.insert(stem.to_string_lossy().into_owned(), described);
            }
        }
        Ok(all)
    }

    /// A finished cell: its run and the trained tensors.
    ///
    /// # Errors
    /// If it is there and damaged, or its record is gone.
    pub fn find(&self, key: &CellKey) -> Result<Option<(Run, StateDict)>> {
        let path = self.path(key);
        if !path.exists() {
            return Ok(None);
        }
        let (tensors, metadata) = tensor_file::read(&path)?;
        let missing = || peft_core::Error::format(&path, format!("has no `{RECORD}` in its metadata"));
        let record = metadata.get(RECORD).ok_or_else(missing)?;
        Ok(Some((compare::load(&self.records.root().join(record))?, tensors)))
    }

    /// Adds a record alone.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn record(&self, run: &mut Run) -> Result<PathBuf> {
        Ok(self.records.add(run)?)
    }

    /// Keeps a run and its trained tensors; the cell of one that reached its end is found from then on.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn save(&self, key: &CellKey, run: &mut Run, tensors: &StateDict) -> Result<()> {
        let record = self.record(run)?;
        if run.record.status != Status::Success {
            return Ok(());
        }
        std::fs::create_dir_all(&self.folder).map_err(|source| peft_core::Error::io(&self.folder, source))?;
        let record = record.strip_prefix(self.records.root()).unwrap_or(&record);
        let metadata = Metadata::from([
            (RECORD.to_owned(), record.display().to_string()),
            (CELL.to_owned(), key.described.clone()),
        ]);
        Ok(tensor_file::write(&self.path(key), tensors, &metadata)?)
    }

    fn path(&self, key: &CellKey) -> PathBuf {
        self.folder.join(format!("{}.safetensors", key.hash))
    }
}

/// What decides the outcome of a run besides its settings: program, weights and data.
pub fn surroundings(context: &Context<'_>) -> Value {
    let prepared = context.prepared;
    let mut hasher = blake3::Hasher::new();
    for sequence in &prepared.train.sequences {
        for token in &sequence.tokens {
            hasher.update(&token.to_le_bytes());
        }
        hasher.update(&[0xff; 4]);
    }
    let others = context.others.iter().map(|other| other.task.digest(Split::Test));
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "model": context.session.fingerprint,
        "device": format!("{:?}", context.session.learner.device()),
        "packing": context.options.packing,
        "train": hasher.finalize().to_hex().as_str(),
        "validation": prepared.task.digest(Split::Validation),
        "test": prepared.task.digest(Split::Test),
        "others": others.collect::<Vec<_>>(),
    })
}
