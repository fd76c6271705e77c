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
        create_folder(parent).map_err(|source| Error::io(parent, source))?;
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
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|source| Error::io(&path, source))?;
            flush(&path)
        };
        let state = json!({ "format": FORMAT, "state": self.values });
        write(STATE, &(serde_json::to_string_pretty(&state).expect("plain values print") + "\n"))?;
        let tensors = folder.join(TENSORS);
        tensor_file::write_piecewise(&tensors, &self.tensors)?;
        // That writer makes private files.
        fs::metadata(folder.join(STATE))
            .and_then(|state| fs::set_permissions(&tensors, state.permissions()))
            .map_err(|source| Error::io(&tensors, source))?;
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

/// Makes a folder with those above it, of which another process may be removing empty ones at this moment.
fn create_folder(folder: &Path) -> std::io::Result<()> {
    const ATTEMPTS: usize = 20;
    let mut outcome = fs::create_dir_all(folder);
    for _ in 1..ATTEMPTS {
        if !matches!(&outcome, Err(error) if error.kind() == std::io::ErrorKind::NotFound) {
            break;
        }
        outcome = fs::create_dir_all(folder);
    }
    outcome
}

/// Waits until a file or folder is on the disk.
fn flush(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|source| Error::io(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Kind, Tensor};

    fn written(folder: &Path) -> Checkpoint {
        let mut checkpoint = Checkpoint::new();
        let tensor = Tensor::arange(12, (Kind::Float, tch::Device::Cpu)).view([3, 4]);
        checkpoint
            .put_tensors("adapter", [("a".to_owned(), tensor), ("b".into(), Tensor::from(7i64))].into());
        checkpoint.put_tensors("adapter2", [("a".to_owned(), Tensor::from(true))].into());
        checkpoint.put("place", &(3, 0.1f64 + 0.2));
        checkpoint.write(folder).unwrap();
        checkpoint
    }

    #[test]
    fn what_is_written_is_read() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("runs/step-1");
        let before = written(&folder);
        let after = Checkpoint::read(&folder).unwrap();
        assert_eq!(after.all_tensors(), before.all_tensors());
        assert_eq!(after.tensors("adapter").into_keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(after.value::<(u64, f64)>("place").unwrap(), (3, 0.1 + 0.2), "to the last bit");
        let error = after.value::<u64>("plaice").unwrap_err().to_string();
        assert!(error.contains("step-1") && error.contains("`plaice`: is missing"), "{error}");
        // Over an older one, and nothing is left beside it.
        written(&folder);
        assert_eq!(fs::read_dir(folder.parent().unwrap()).unwrap().count(), 1);
    }

    /// Every file, cut at any place or with any bit flipped: exhaustively where that is quick.
    #[test]
    fn every_damage_is_noticed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("step-1");
        written(&folder);
        for name in [TENSORS, STATE, CHECKSUMS] {
            let path = folder.join(name);
            let whole = fs::read(&path).unwrap();
            for place in 0..whole.len() {
                let mut flipped = whole.clone();
                flipped[place] ^= 1 << (place % 8);
                for damaged in [&flipped[..], &whole[..place]] {
                    fs::write(&path, damaged).unwrap();
                    let error = Checkpoint::read(&folder).unwrap_err();
                    assert!(
                        matches!(error, Error::Format { .. } | Error::Io { .. }),
                        "{name} at {place}: {error}"
                    );
                }
            }
            fs::remove_file(&path).unwrap();
            assert!(matches!(Checkpoint::read(&folder), Err(Error::Io { .. })), "{name}");
            fs::write(&path, &whole).unwrap();
        }
        Checkpoint::read(&folder).unwrap();
    }

    #[test]
    fn another_format_is_said_to_be_one() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("step-1");
        written(&folder);
        let state = fs::read_to_string(folder.join(STATE)).unwrap();
        fs::write(folder.join(STATE), state.replace("\"format\": 1", "\"format\": 2")).unwrap();
        fs::write(folder.join(CHECKSUMS), checksums(&folder).unwrap()).unwrap();
        let error = Checkpoint::read(&folder).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains("a checkpoint of format 2"), "{error}");
    }
}
