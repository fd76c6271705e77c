//! Where the files of tasks are.

use crate::config::Files;
use crate::{Error, Result};
use hub::{Kind, Repo, Snapshot};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where the files of a task are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Place {
    /// Where the task's file says: in a repository of the hub, or nowhere.
    #[default]
    Stated,
    /// Below a folder.
    Folder(PathBuf),
    /// In a repository of the hub.
    Hub(Repo),
}

impl From<Option<&Path>> for Place {
    fn from(folder: Option<&Path>) -> Self {
        folder.map_or(Self::Stated, |folder| Self::Folder(folder.to_owned()))
    }
}

/// A folder, or `hf:OWNER/NAME[@REVISION]`.
impl FromStr for Place {
    type Err = hub::Error;

    fn from_str(text: &str) -> hub::Result<Self> {
        match text.strip_prefix("hf:") {
            Some(repo) => Ok(Self::Hub(Repo::parse(Kind::DataSet, repo)?)),
            None => Ok(Self::Folder(PathBuf::from(text))),
        }
    }
}

/// Where files are on this machine.
pub(crate) struct Found {
    /// The folder that their names are below.
    pub root: PathBuf,
    /// `OWNER/NAME@COMMIT`, for those of the hub.
    pub repo: Option<String>,
}

impl Place {
    /// The files of `task`, which are as [`TaskConfig::at`](crate::TaskConfig::at) this place has them. Those of the hub are
    /// fetched.
    pub(crate) fn find(&self, task: &str, files: &Files) -> Result<Found> {
        if let Self::Folder(folder) = self {
            return Ok(Found { root: folder.clone(), repo: None });
        }
        let Some(hub) = &files.hub else { return Err(Error::NoDataDir { task: task.to_owned() }) };
        let names: Vec<String> = files.splits.paths().map(|path| path.display().to_string()).collect();
        let Snapshot { folder, commit } = hub.repo()?.files(&names)?;
        Ok(Found { root: folder, repo: Some(format!("{}@{commit}", hub.repo)) })
    }
}
