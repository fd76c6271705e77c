//! The files of a model in Hugging Face layout, on disk or compiled into the program.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use peft_core::tensor_file::TensorFile;
use peft_core::{Error, Result};
use serde_json::{Map, Value};

use crate::hub::HubModel;

/// A model that is part of the program.
#[derive(Clone, Debug)]
pub struct Builtin {
    /// `mini` of `builtin:mini`.
    pub name: &'static str,
    /// File names and contents.
    pub files: Vec<(&'static str, &'static [u8])>,
}

/// What a user may write for a model.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelSource {
    /// `builtin:NAME`.
    Builtin(String),
    /// A folder.
    Folder(PathBuf),
    /// `hf:REPO[@REVISION]`.
    Hub(HubModel),
}

impl FromStr for ModelSource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("builtin", name)) => Ok(Self::Builtin(name.to_owned())),
            Some(("hf", model)) => Ok(Self::Hub(HubModel::parse(model)?)),
            _ => Ok(Self::Folder(PathBuf::from(text))),
        }
    }
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(name) => write!(f, "builtin:{name}"),
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Hub(model) => model.fmt(f),
        }
    }
}

impl ModelSource {
    /// Where its files are; `builtins` lists what the program carries.
    ///
    /// # Errors
    /// If there is no such built-in model or folder, or a model of the hub cannot be fetched.
    pub fn files(&self, builtins: &[Builtin]) -> Result<ModelFiles> {
        match self {
            Self::Builtin(name) => {
                let found = builtins.iter().find(|builtin| builtin.name == name);
                found.cloned().map(ModelFiles::Builtin).ok_or_else(|| Error::Unknown {
                    what: "built-in model".to_owned(),
                    name: name.clone(),
                    known: builtins.iter().map(|builtin| builtin.name.to_owned()).collect(),
                })
            }
            Self::Folder(path) => {
                std::fs::read_dir(path).map_err(|source| Error::io(path, source))?;
                Ok(ModelFiles::Folder(path.clone()))
            }
            Self::Hub(model) => Ok(ModelFiles::Folder(model.folder()?)),
        }
    }
}

/// The files of one model.
#[derive(Clone, Debug)]
pub enum ModelFiles {
    /// On disk.
    Folder(PathBuf),
    /// In the program.
    Builtin(Builtin),
}

impl ModelFiles {
    /// The content of `name`, if there is such a file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read.
    pub fn find(&self, name: &str) -> Result<Option<Cow<'static, [u8]>>> {
        match self {
            Self::Folder(folder) => match std::fs::read(folder.join(name)) {
                Ok(bytes) => Ok(Some(bytes.into())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(Error::io(folder.join(name), error)),
            },
            Self::Builtin(builtin) => Ok(builtin.find(name).map(Cow::Borrowed)),
        }
    }

    /// The JSON object in `name`, if there is such a file.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Format`] if it is something else.
    pub fn find_json(&self, name: &str) -> Result<Option<Map<String, Value>>> {
        let parse = |bytes: Cow<'_, [u8]>| serde_json::from_slice(&bytes);
        let parsed = self.find(name)?.map(parse).transpose();
        parsed.map_err(|error| Error::format(self.place(name), error))
    }

    /// The tensors in `name`.
    ///
    /// # Errors
    /// As [`TensorFile::open`].
    pub fn tensors(&self, name: &str) -> Result<TensorFile> {
        match self {
            Self::Folder(folder) => TensorFile::open(&folder.join(name)),
            Self::Builtin(builtin) => {
                let bytes = builtin.find(name).ok_or_else(|| self.absent(name))?;
                TensorFile::embedded(&self.place(name), bytes)
            }
        }
    }

    /// How errors call `name`.
    pub fn place(&self, name: &str) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(name),
            Self::Builtin(builtin) => Path::new(&format!("builtin:{}", builtin.name)).join(name),
        }
    }

    /// The error for a file that must be there.
    pub(crate) fn absent(&self, name: &str) -> Error {
        Error::io(self.place(name), std::io::ErrorKind::NotFound.into())
    }
}

impl Builtin {
    fn find(&self, name: &str) -> Option<&'static [u8]> {
        self.files.iter().find(|(file, _)| *file == name).map(|(_, bytes)| *bytes)
    }
}
