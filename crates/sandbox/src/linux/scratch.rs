//! The folder of one program.

use crate::{Error, Result};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The overflow user and group, which own nothing.
pub const NOBODY: u32 = 65534;

/// `<temporary>/program.py` and, for the program to work in, `<temporary>/home`; deleted when dropped.
pub struct Scratch {
    _folder: TempDir,
    home: PathBuf,
    program: PathBuf,
}

impl Scratch {
    /// `for_nobody`: the program is run by that user and not by this one.
    pub fn new(program: &str, for_nobody: bool) -> Result<Self> {
        let temporary = std::env::temp_dir();
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { path, source }
        };
        let folder = tempfile::Builder::new().prefix("program-").tempdir().map_err(at(&temporary))?;
        let (home, file) = (folder.path().join("home"), folder.path().join("program.py"));
        fs::create_dir(&home).map_err(at(&home))?;
        fs::write(&file, program).map_err(at(&file))?;
        if for_nobody {
            fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).map_err(at(folder.path()))?;
            fs::set_permissions(&file, Permissions::from_mode(0o644)).map_err(at(&file))?;
            fs::set_permissions(&home, Permissions::from_mode(0o700)).map_err(at(&home))?;
            chown(&home, Some(NOBODY), Some(NOBODY)).map_err(at(&home))?;
        }
        Ok(Self { _folder: folder, home, program: file })
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    pub fn program(&self) -> &Path {
        &self.program
    }
}
