//! A checkpoint on disk: a folder that is there whole or not at all, and whose every byte is checked when it is read.
//!
//! ```text
//! step-00000120/
//!   tensors.safetensors   all tensors, as `<section>/<name>`
//!   state.json            the rest, by section, and the version of this layout
//!   checksums.b3          BLAKE3 of the two, as `b3sum --check` reads it
//! ```

use std::fs::{self, File};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{Error, Result, StateDict, tensor_file};

/// Version of the layout.
const FORMAT: u64 = 1;
const TENSORS: &str = "tensors.safetensors";
const STATE: &str = "state.json";
const CHECKSUMS: &str = "checksums.b3";

/// Tensors and values by section.
#[derive(Debug, Default)]
pub struct Checkpoint {
    tensors: StateDict,
    values: Map<String, Value>,
    origin: String,
}

impl Checkpoint {
    /// How the name of a folder begins that is not a checkpoint yet; a process that was killed leaves it behind.
    pub const UNFINISHED: &str = ".unfinished-";

    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The folder it was read from, for errors.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Adds handles to tensors; they are copied when the checkpoint is written.
    pub fn put_tensors(&mut self, section: &str, tensors: StateDict) {
        self.tensors.extend(tensors.into_iter().map(|(name, tensor)| (format!("{section}/{name}"), tensor)));
    }

    /// The tensors of a section; none if nothing was put there.
    pub fn tensors(&self, section: &str) -> StateDict {
        let own = |name: &str| name.strip_prefix(section)?.strip_prefix('/').map(str::to_owned);
        self.tensors.iter().filter_map(|(name, t)| Some((own(name)?, t.shallow_clone()))).collect()
    }

    /// Every tensor, as `<section>/<name>`.
    pub fn all_tensors(&self) -> &StateDict {
        &self.tensors
    }

    /// Adds a value that JSON can say. (Numbers that are not finite it cannot: they belong among the tensors.)
    ///
    /// # Panics
    /// If it cannot be said.
    pub fn put(&mut self, section: &str, value: &impl Serialize) {
        let value = serde_json::to_value(value).expect("checkpoints hold plain values");
        self.values.insert(section.to_owned(), value);
    }

    /// The value of a section.
    ///
    /// # Errors
    /// [`Error::Format`] if there is none or it is something else.
    pub fn value<T: DeserializeOwned>(&self, section: &str) -> Result<T> {
        let bad = |reason: String| Error::format(&self.origin, format!("{STATE}: `{section}`: {reason}"));
        let value = self.values.get(section).ok_or_else(|| bad("is missing".to_owned()))?;
        T::deserialize(value).map_err(|error| bad(error.to_string()))
    }

    /// Writes it to `folder`, in place of what is there: first beside it, under a name that begins with [`Self::UNFINISHED`], then
    /// flushed, then renamed.
    ///
    /// # Errors
    /// [`Error::Io`] (a full disk, a folder that is not writable); what else lies beside `folder` is as it was then.
    ///
    /// # Panics
    /// If `folder` has no parent.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let parent = folder.parent().expect("a checkpoint lies in a folder");
        fs::create_dir_all(parent).map_err(|source| Error::io(parent, source))?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(Self::UNFINISHED);
        // A temporary folder is private unless told otherwise, and the rename keeps its mode.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let unfinished = builder.tempdir_in(parent).map_err(|source| Error::io(parent, source))?;
        self.write_files(unfinished.path())?;
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(|source| Error::io(folder, source))?;
        }
        fs::rename(unfinished.path(), folder).map_err(|source| Error::io(folder, source))?;
        let _ = unfinished.keep(); // under its name it is no longer there to be removed
        flush(parent)
    }

    fn write_files(&self, folder: &Path) -> Result<()> {
        tensor_file::write_piecewise(&folder.join(TENSORS), &self.tensors)?;
        let state = json!({ "format": FORMAT, "state": self.values });
        let text = serde_json::to_string_pretty(&state).expect("plain values print") + "\n";
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|source| Error::io(&path, source))?;
            flush(&path)
        };
        write(STATE, &text)?;
        write(CHECKSUMS, &checksums(folder)?)?;
        flush(folder)
    }

    /// Reads `folder` and checks every byte of it.
    ///
    /// # Errors
    /// [`Error::Format`] or [`Error::Io`] for one that is damaged, [`Error::Unsupported`] for one of another version.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(CHECKSUMS);
        let stated = fs::read_to_string(&path).map_err(|source| Error::io(&path, source))?;
        let found = checksums(folder)?;
        if let Some(name) = damaged(&stated, &found) {
            let reason = format!("damaged: the BLAKE3 of `{name}` is not the one in `{CHECKSUMS}`");
            return Err(Error::format(folder, reason));
        }
        let path = folder.join(STATE);
        let bytes = fs::read(&path).map_err(|source| Error::io(&path, source))?;
        let mut state: Map<String, Value> =
            serde_json::from_slice(&bytes).map_err(|error| Error::format(&path, error))?;
        let format = state.get("format").and_then(Value::as_u64);
        if format != Some(FORMAT) {
            let version = format.map_or("unknown".to_owned(), |format| format.to_string());
            return Err(Error::Unsupported {
                what: format!("{}: a checkpoint of format {version}", folder.display()),
                reason: format!("this version reads and writes format {FORMAT}"),
            });
        }
        let Some(Value::Object(values)) = state.remove("state") else {
            return Err(Error::format(&path, "`state` is missing"));
        };
        let (tensors, _) = tensor_file::read(&folder.join(TENSORS))?;
        Ok(Self { tensors, values, origin: folder.display().to_string() })
    }
}

/// A line of checksum and name for each file.
fn checksums(folder: &Path) -> Result<String> {
    let line = |name: &str| -> Result<String> {
        let path = folder.join(name);
        let mut hasher = blake3::Hasher::new();
        let file = File::open(&path).map_err(|source| Error::io(&path, source))?;
        hasher.update_reader(file).map_err(|source| Error::io(&path, source))?;
        Ok(format!("{}  {name}\n", hasher.finalize().to_hex()))
    };
    Ok(line(TENSORS)? + &line(STATE)?)
}

/// The file whose checksum is not the one stated; the checksums themselves where it cannot be told.
fn damaged<'a>(stated: &str, found: &'a str) -> Option<&'a str> {
    if stated == found {
        return None;
    }
    let line = found.lines().find(|line| !stated.lines().any(|stated| stated == *line));
    Some(line.and_then(|line| line.split_once("  ")).map_or(CHECKSUMS, |(_, name)| name))
}

/// Waits until a file or folder is on the disk.
fn flush(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|source| Error::io(path, source))
}
