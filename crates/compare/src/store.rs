//! Records on disk: an append-only folder that mirrors the experiment.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::migrate;
use crate::name::component;
use crate::outcome::{self, Outcome};
use crate::record::{RunRecord, run_id};
use crate::run::{Evidence, Run};

/// Ending of the files with per-item outcomes.
const OUTCOMES: &str = "outcomes.jsonl.zst";

/// A folder of records: `<suite>/<task>/<method>/seed-<n>/<id>.json`, with the outcomes beside each in
/// `<id>.outcomes.jsonl.zst`. Runs outside a suite lie under `single/`.
///
/// Nothing is ever overwritten: a run that is scored again adds `<id>@1.json`, `<id>@2.json`, … Files appear whole
/// or not at all, the outcomes before the record that names them.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store in that folder, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the files of a record lie; adapters belong there too.
    pub fn folder(&self, record: &RunRecord) -> PathBuf {
        [record.suite.as_deref().unwrap_or("single"), &record.task, &record.method]
            .iter()
            .fold(self.root.clone(), |path, name| path.join(component(name)))
            .join(format!("seed-{}", record.seed))
    }

    /// Adds a run and returns the path of its record.
    ///
    /// # Errors
    /// [`Error::Record`] for a record that contradicts itself, [`Error::AlreadyStored`], [`Error::Io`].
    pub fn save(&self, run: &Run) -> Result<PathBuf> {
        run.record.check()?;
        let folder = self.folder(&run.record);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let stem = stem(&run.record);
        let path = folder.join(format!("{stem}.json"));
        if path.exists() {
            return Err(Error::AlreadyStored { path });
        }
        let mut record = run.record.clone();
        record.outcomes = match &run.evidence {
            Evidence::Counts => None,
            Evidence::Items(outcomes) => {
                let (bytes, file) = outcome::encode(outcomes);
                // Left behind by a crash before the record was written, it belongs to nothing and may go.
                write_atomically(&folder.join(format!("{stem}.{OUTCOMES}")), &bytes, Existing::Replace)?;
                Some(file)
            }
        };
        let mut json = serde_json::to_vec_pretty(&record).expect("a record is plain data");
        json.push(b'\n');
        write_atomically(&path, &json, Existing::Refuse)?;
        Ok(path)
    }

    /// Adds a run as [`Store::save`] does, and lets its time and identifier move on by a millisecond, or more, where another
    /// run of its method, task and seed began in the same one: with other settings, in another process.
    ///
    /// # Errors
    /// [`Error::Record`] for a record that contradicts itself, [`Error::Io`].
    pub fn add(&self, run: &mut Run) -> Result<PathBuf> {
        loop {
            match self.save(run) {
                Err(Error::AlreadyStored { .. }) => {
                    let RunRecord { created_at, id, method, task, seed, .. } = &mut run.record;
                    *created_at += std::time::Duration::from_millis(1);
                    *id = run_id(*created_at, method, task, *seed);
                }
                saved => return saved,
            }
        }
    }

    /// The paths of all records, the newest revision of each run, sorted.
    ///
    /// # Errors
    /// [`Error::Io`] when a folder cannot be read; a store that does not exist yet is empty.
    pub fn list(&self) -> Result<Vec<PathBuf>> {
        let mut newest: BTreeMap<PathBuf, (u32, PathBuf)> = BTreeMap::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == ErrorKind::NotFound && folder == self.root => continue,
                entries => entries.map_err(Error::io("list", &folder))?,
            };
            for entry in entries {
                let entry = entry.map_err(Error::io("list", &folder))?;
                let path = entry.path();
                if entry.file_type().map_err(Error::io("list", &path))?.is_dir() {
                    folders.push(path);
                } else if in_seed_folder(&path) && path.extension() == Some(OsStr::new("json")) {
                    let (id, revision) = split_revision(&path);
                    let known = newest.entry(id).or_insert_with(|| (revision, path.clone()));
                    if revision >= known.0 {
                        *known = (revision, path);
                    }
                }
            }
        }
        Ok(newest.into_values().map(|(_, path)| path).collect())
    }

    /// Every run, in the order of [`Store::list`].
    ///
    /// # Errors
    /// As [`Store::list`] and [`load`].
    pub fn load_all(&self) -> Result<Vec<Run>> {
        self.list()?.iter().map(|path| load(path)).collect()
    }
}

/// Reads one record with the outcomes beside it.
///
/// # Errors
/// [`Error::Io`], those of [`migrate::parse`], [`Error::MissingOutcomes`] and [`Error::OutcomesChanged`]; each names
/// the file.
pub fn load(path: &Path) -> Result<Run> {
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    let record = migrate::parse(&text, &path.display().to_string())?;
    let evidence = match &record.outcomes {
        None => Evidence::Counts,
        Some(file) => {
            let path = path.with_file_name(format!("{}.{OUTCOMES}", stem(&record)));
            Evidence::Items(read_outcomes(&path, &record, file)?)
        }
    };
    Ok(Run { record, evidence })
}

fn read_outcomes(path: &Path, record: &RunRecord, file: &outcome::OutcomesFile) -> Result<Vec<Outcome>> {
    match fs::read(path) {
        Ok(bytes) => outcome::decode(path, &bytes, file),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Error::MissingOutcomes { id: record.id.clone(), path: path.to_owned() })
        }
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// What to do with a file that is in the way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Replace,
    Refuse,
}

/// Writes a file, whole or not at all, over an older one.
///
/// # Errors
/// [`Error::Io`].
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically(path, bytes, Existing::Replace)
}

/// Writes a file, whole or not at all, unless there is one: of several processes that try, one does.
///
/// # Errors
/// [`Error::AlreadyStored`] if there is one, [`Error::Io`].
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically(path, bytes, Existing::Refuse)
}

/// Writes beside the target, flushes, renames: the target is whole or absent.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8], existing: Existing) -> Result<()> {
    let folder = path.parent().expect("a file lies in a folder");
    let mut builder = tempfile::Builder::new();
    builder.suffix(".tmp");
    // A temporary file is private unless told otherwise, and the rename keeps its mode.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(Error::io("write into", folder))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(Error::io("write", path))?;
    let written = match existing {
        Existing::Replace => file.persist(path),
        Existing::Refuse => file.persist_noclobber(path),
    };
    match written {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {
            Err(Error::AlreadyStored { path: path.to_owned() })
        }
        Err(error) => Err(Error::io("write", path)(error.error)),
    }
}

fn stem(record: &RunRecord) -> String {
    match record.revision {
        0 => component(&record.id),
        revision => format!("{}@{revision}", component(&record.id)),
    }
}

/// The path without revision and ending, and the revision.
fn split_revision(path: &Path) -> (PathBuf, u32) {
    let bare = path.with_extension("");
    let name = bare.file_name().and_then(OsStr::to_str).unwrap_or_default();
    match name.rsplit_once('@').and_then(|(id, revision)| Some((id, revision.parse().ok()?))) {
        Some((id, revision)) => (bare.with_file_name(id), revision),
        None => (bare, 0),
    }
}

/// What adapters are described in; their folders may be called `seed-…` too.
const ADAPTER_CONFIG: &str = "adapter_config.json";

/// Adapters and summaries also end in `.json`; records lie directly in a `seed-…` folder.
fn in_seed_folder(path: &Path) -> bool {
    path.file_name() != Some(OsStr::new(ADAPTER_CONFIG))
        && path
            .parent()
            .and_then(Path::file_name)
            .and_then(OsStr::to_str)
            .and_then(|name| name.strip_prefix("seed-"))
            .is_some_and(|seed| seed.parse::<u64>().is_ok())
}
