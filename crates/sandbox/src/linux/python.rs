//! Which Python runs programs.

use super::scratch::NOBODY;
use crate::{Error, Result};
use rustix::process::geteuid;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Prints the interpreter behind a name (which may be a script that chooses one) and the folders it loads from.
const QUERY: &str = r"
import json, os, sys
folders = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, *sys.path,
           os.path.dirname(sys.executable), os.path.dirname(os.path.realpath(sys.executable))}
with open('/proc/self/maps') as maps:
    mapped = (line.split(None, 5)[-1].strip() for line in maps)
    folders |= {os.path.dirname(path) for path in mapped if path.startswith('/')}
print(json.dumps([sys.executable, sorted(folders)]))
";

/// An interpreter.
#[derive(Debug, Clone)]
pub struct Python {
    pub executable: PathBuf,
    /// What it reads from.
    pub folders: Vec<PathBuf>,
}

impl Python {
    /// The first `python3` on `PATH` that works for the user programs run as: `nobody` if this user is root.
    pub fn find() -> Result<Self> {
        let mut tried = Vec::new();
        for folder in std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()) {
            let candidate = folder.join("python3");
            if !candidate.is_file() {
                continue;
            }
            match Self::ask(&candidate) {
                Ok(python) => return Ok(python),
                Err(reason) => tried.push(format!("`{}`: {reason}", candidate.display())),
            }
        }
        Err(Error::NoPython { tried })
    }

    fn ask(candidate: &Path) -> Result<Self, String> {
        let mut command = Command::new(candidate);
        command.args(["-I", "-c", QUERY]).current_dir("/").stdin(Stdio::null());
        if geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = command.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(output.status.to_string());
        }
        let (executable, folders): (PathBuf, Vec<PathBuf>) =
            serde_json::from_slice(&output.stdout).map_err(|error| format!("unexpected answer: {error}"))?;
        // The root folder would open everything.
        let folders = folders.into_iter().filter(|folder| folder.parent().is_some()).collect();
        Ok(Self { executable, folders })
    }
}
