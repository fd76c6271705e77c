//! The checkpoints of a cell: when they are written, how many are kept, and which one a run goes on from.

mod identity;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use peft_core::Checkpoint;
use serde_json::Value;

use crate::train::Flow;
use crate::{Error, Result};

pub use identity::Identity;

/// When checkpoints are written, and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// When.
    pub every: Every,
    /// So many, the newest.
    pub keep: usize,
}

/// When a checkpoint is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    /// Never; none is read either.
    Never,
    /// After each so many optimizer steps.
    Steps(u64),
    /// A minute after the last one, or later: writing takes at most a hundredth of the time.
    Minute,
}

impl Every {
    /// As `--checkpoint-every` says: 0 is never.
    pub fn new(steps: Option<u64>) -> Self {
        match steps {
            None => Self::Minute,
            Some(0) => Self::Never,
            Some(steps) => Self::Steps(steps),
        }
    }
}

/// Keeps the checkpoints of one cell in a folder of its own.
#[derive(Debug)]
pub struct Keeper {
    folder: PathBuf,
    keeping: Keeping,
    identity: Identity,
    /// When the last one was written, or the run began.
    last: Instant,
    /// What writing it took.
    took: Duration,
}

/// Section of the run's identity.
const IDENTITY: &str = "identity";
/// How folders of checkpoints begin.
const STEP: &str = "step-";
/// How folders begin that were checkpoints and are damaged.
const DAMAGED: &str = "damaged-";

impl Keeper {
    /// For the run of this identity.
    pub fn new(folder: &Path, keeping: Keeping, identity: Identity) -> Self {
        let (last, took) = (Instant::now(), Duration::ZERO);
        Self { folder: folder.to_owned(), keeping, identity, last, took }
    }

    /// The newest checkpoint that is whole, if there is one. Damaged ones are put aside, with a sentence in `notes`.
    ///
    /// # Errors
    /// [`Error::OtherRun`] if it belongs to another run, [`peft_core::Error::Unsupported`] if another version wrote it,
    /// [`Error::Output`] if the folder cannot be used.
    pub fn newest(&self, notes: &mut Vec<String>) -> Result<Option<Checkpoint>> {
        let failed = |source| Error::Output { path: self.folder.clone(), source };
        let steps = self.tidy().map_err(failed)?;
        for (index, folder) in steps.iter().rev().enumerate() {
            match Checkpoint::read(folder) {
                Ok(checkpoint) => {
                    let theirs: Value = checkpoint.value(IDENTITY)?;
                    let differences = self.identity.differences(&theirs);
                    if differences.is_empty() {
                        return Ok(Some(checkpoint));
                    }
                    return Err(Error::OtherRun { path: folder.clone(), differences });
                }
                Err(error @ (peft_core::Error::Format { .. } | peft_core::Error::Io { .. })) => {
                    let instead = if index + 1 < steps.len() {
                        "an older one is used"
                    } else {
                        "there is no older one, so the run starts from its beginning"
                    };
                    notes.push(format!("a checkpoint cannot be used: {error}; {instead}"));
                    let name = folder.file_name().unwrap_or_default().to_string_lossy();
                    let aside = self.folder.join(format!("{DAMAGED}{name}"));
                    let _ = fs::remove_dir_all(&aside);
                    fs::rename(folder, aside).map_err(failed)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Whether to write one after `step` of `total` steps; a run that is asked to stop always does, and so does one that has
    /// only scoring left.
    pub fn is_due(&self, step: u64, total: u64, flow: Flow) -> bool {
        /// Between two checkpoints, unless the user says otherwise.
        const INTERVAL: Duration = Duration::from_mins(1);
        /// Writing takes at most one part in so many of the time.
        const SHARE: u32 = 100;
        match self.keeping.every {
            Every::Never => false,
            _ if flow == Flow::Stop || step == total => true,
            Every::Steps(every) => step.is_multiple_of(every),
            Every::Minute => self.last.elapsed() >= INTERVAL.max(self.took * SHARE),
        }
    }

    /// Writes the checkpoint of `step`, then removes what is beyond the number kept.
    ///
    /// # Errors
    /// [`Error::Checkpoint`]; the older ones are as they were then.
    pub fn write(&mut self, step: u64, mut checkpoint: Checkpoint) -> Result<()> {
        let started = Instant::now();
        checkpoint.put(IDENTITY, self.identity.json());
        let folder = self.folder.join(format!("{STEP}{step:08}"));
        let failed = |source| Error::Checkpoint { path: folder.clone(), source };
        checkpoint.write(&folder).map_err(failed)?;
        let io = |source| failed(peft_core::Error::io(&self.folder, source));
        let steps = self.tidy().map_err(io)?;
        for old in &steps[..steps.len().saturating_sub(self.keeping.keep)] {
            fs::remove_dir_all(old).map_err(|source| failed(peft_core::Error::io(old, source)))?;
        }
        (self.last, self.took) = (Instant::now(), started.elapsed());
        Ok(())
    }

    /// Removes what a process that was killed left unfinished, and returns the checkpoints, oldest first.
    fn tidy(&self) -> std::io::Result<Vec<PathBuf>> {
        let mut steps = Vec::new();
        if !self.folder.exists() {
            return Ok(steps);
        }
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(Checkpoint::UNFINISHED) {
                fs::remove_dir_all(&path)?;
            } else if name.starts_with(STEP) {
                steps.push(path);
            }
        }
        steps.sort();
        Ok(steps)
    }
}

/// Removes the checkpoints of a cell that is finished, and the folders above that are empty now.
///
/// # Errors
/// [`Error::Output`].
pub fn remove(folder: &Path) -> Result<()> {
    /// Seed, method, task, and the folder of all checkpoints.
    const LEVELS: usize = 4;
    match fs::remove_dir_all(folder) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::Output { path: folder.to_owned(), source });
        }
        _ => {}
    }
    for above in folder.ancestors().take(LEVELS).skip(1) {
        if fs::remove_dir(above).is_err() {
            break; // another cell has something there
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_due(every: Every, waited: u64, took: u64, step: u64, flow: Flow) -> bool {
        let keeping = Keeping { every, keep: 2 };
        let mut keeper = Keeper::new(Path::new("none"), keeping, Identity::none());
        keeper.last =
            Instant::now().checked_sub(Duration::from_secs(waited)).expect("a clock past its start");
        keeper.took = Duration::from_secs(took);
        keeper.is_due(step, 1000, flow)
    }

    #[test]
    fn a_checkpoint_is_due_by_steps_by_time_and_at_a_stop() {
        let due = |every, waited, took, step| is_due(every, waited, took, step, Flow::Continue);
        assert!(due(Every::Steps(3), 0, 0, 6) && !due(Every::Steps(3), 900, 0, 7));
        assert!(due(Every::Minute, 61, 0, 7) && !due(Every::Minute, 50, 0, 7));
        assert!(!due(Every::Minute, 150, 2, 7) && due(Every::Minute, 201, 2, 7), "writing takes 2 s");
        assert!(is_due(Every::Minute, 0, 0, 1, Flow::Stop) && is_due(Every::Steps(3), 0, 0, 1, Flow::Stop));
        assert!(due(Every::Minute, 0, 0, 1000) && due(Every::Steps(3), 0, 0, 1000), "only scoring is left");
        assert!(!is_due(Every::Never, 900, 0, 1000, Flow::Stop));
        assert_eq!([None, Some(0), Some(5)].map(Every::new), [Every::Minute, Every::Never, Every::Steps(5)]);
    }
}
