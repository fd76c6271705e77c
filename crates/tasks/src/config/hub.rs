//! `[data.files.hub]`: how the hub has the files.

use super::{Data, Documents, Files, Format, Problem, Ragged, Rewrite, Source, TaskConfig};
use crate::item::PerSplit;
use crate::place::Place;
use crate::{Error, Result};
use hub::{Kind, Repo};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A repository of the Hugging Face hub with the data, and what is different there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hub {
    /// `OWNER/NAME`.
    pub repo: String,
    /// Branch, tag or commit.
    #[serde(default = "main")]
    pub revision: String,
    /// Our name of a file = its name in the repository, or its names where it is in parts there. Where this is empty, the
    /// names are the same.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub names: IndexMap<PathBuf, Parts>,
    /// The format there. What is said of `records`, `documents`, `header` and `ragged` rows is then not of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// The fields that are called otherwise there.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub fields: IndexMap<String, String>,
    /// Rewrites that come before those of the task: for values that are written otherwise there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rewrite: Vec<Rewrite>,
}

/// One file, or several that are one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Parts {
    /// The file.
    One(PathBuf),
    /// Its parts.
    Several(Vec<PathBuf>),
}

fn main() -> String {
    "main".to_owned()
}

impl Hub {
    /// The repository.
    ///
    /// # Errors
    /// For a name that is none.
    pub fn repo(&self) -> hub::Result<Repo> {
        Repo::parse(Kind::DataSet, &format!("{}@{}", self.repo, self.revision))
    }

    fn of(repo: &Repo) -> Self {
        Self {
            repo: repo.id.clone(),
            revision: repo.revision.clone(),
            names: IndexMap::new(),
            format: None,
            fields: IndexMap::new(),
            rewrite: Vec::new(),
        }
    }

    fn parts(&self, name: &Path) -> Option<Vec<PathBuf>> {
        if self.names.is_empty() {
            return Some(vec![name.to_owned()]);
        }
        self.names.get(name).map(|parts| match parts {
            Parts::One(part) => vec![part.clone()],
            Parts::Several(parts) => parts.clone(),
        })
    }
}

impl TaskConfig {
    /// The task with its files as `place` has them: what is different on the hub is laid over for a repository, and goes for
    /// a folder.
    ///
    /// # Errors
    /// [`Error::NotOnHub`] for a file that the task's repository lacks; [`Error::Config`] where what is different there does
    /// not fit the rest.
    pub fn at(mut self, place: &Place) -> Result<Self> {
        let Data::Files(files) = &mut self.data else { return Ok(self) };
        let repo = match (place, &files.hub) {
            (Place::Folder(_), _) => {
                files.hub = None;
                return Ok(self);
            }
            (Place::Stated, None) => return Ok(self),
            (Place::Stated, Some(hub)) => hub.repo()?,
            (Place::Hub(repo), _) => repo.clone(),
        };
        *files = files.on_hub(&repo).map_err(|file| Error::NotOnHub {
            task: self.name.clone(),
            repo: repo.to_string(),
            file,
            presets: self.presets.keys().cloned().collect(),
        })?;
        let name = format!("{}, on the hub", self.name);
        files.check().map_err(|Problem { reason, hint, .. }| Error::Config {
            origin: name,
            line: None,
            reason,
            hint,
        })?;
        Ok(self)
    }
}

impl Files {
    /// These files as the hub has them in `repo`, or the name of one that it lacks.
    fn on_hub(&self, repo: &Repo) -> Result<Self, PathBuf> {
        let Some(hub) = &self.hub else { return Ok(Self { hub: Some(Hub::of(repo)), ..self.clone() }) };
        let splits = PerSplit::try_from_fn(|split| -> Result<Source, PathBuf> {
            let source = self.splits.of(split);
            if source.paths().is_empty() {
                return Ok(source.clone());
            }
            let parts = source.paths().iter().map(|name| hub.parts(name).ok_or_else(|| name.clone()));
            let mut parts: Vec<PathBuf> = parts.collect::<Result<Vec<_>, _>>()?.concat();
            Ok(if parts.len() == 1 { Source::File(parts.remove(0)) } else { Source::Files(parts) })
        })?;
        let mut files = Self { splits, hub: Some(Hub::of(repo)), ..self.clone() };
        if let Some(format) = hub.format {
            files.format = format;
            (files.records, files.documents) = (None, Documents::Lines);
            (files.header, files.ragged) = (true, Ragged::Error);
        }
        files.fields.extend(hub.fields.clone());
        files.rewrite.splice(0..0, hub.rewrite.iter().cloned());
        Ok(files)
    }

    pub(super) fn check_hub(&self) -> Result<(), Problem> {
        let Some(hub) = &self.hub else { return Ok(()) };
        hub.repo().map_err(|error| Problem {
            at: hub.repo.clone(),
            reason: error.to_string(),
            hint: Some(error.hint),
        })?;
        match hub.fields.keys().find(|name| !self.fields.contains_key(*name)) {
            Some(name) => {
                let known = self.fields.keys().map(String::as_str);
                let hint = crate::error::suggest(name, known);
                Err(Problem {
                    at: name.clone(),
                    reason: format!("`[data.files.fields]` has no `{name}`"),
                    hint,
                })
            }
            None => Ok(()),
        }
    }
}
