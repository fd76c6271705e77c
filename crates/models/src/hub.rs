//! Models of the Hugging Face hub.

use std::path::{Path, PathBuf};

use hub::{Kind, Repo};
use peft_core::{Error, Result};

const CONFIG: &str = "config.json";

/// `REPO[@REVISION]` of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubModel(Repo);

impl HubModel {
    /// From what follows `hf:`.
    ///
    /// # Errors
    /// [`Error::Fetch`] for another form.
    pub fn parse(text: &str) -> Result<Self> {
        Repo::parse(Kind::Model, text).map(Self).map_err(fetch_error)
    }

    /// The folder of its files, which are fetched first where the cache lacks them.
    ///
    /// # Errors
    /// [`Error::Fetch`].
    pub fn folder(&self) -> Result<PathBuf> {
        self.0.chosen(CONFIG, |there| self.wanted(there)).map(|snapshot| snapshot.folder).map_err(fetch_error)
    }

    /// Configuration, tokenizer, and weights: one file, or what an index names.
    fn wanted(&self, there: &[String]) -> hub::Result<Vec<String>> {
        let is_weights = |file: &&String| file.starts_with("model") && file.contains(".safetensors");
        let weights: Vec<_> = there.iter().filter(is_weights).cloned().collect();
        if weights.is_empty() {
            let hint = "other formats are not read; convert it, or take another revision";
            return Err(self.0.error("it holds no model.safetensors", hint));
        }
        let json = there.iter().filter(|file| {
            let path = Path::new(file);
            path.parent() == Some(Path::new("")) && path.extension().is_some_and(|end| end == "json")
        });
        Ok(json.filter(|file| !is_weights(file)).cloned().chain(weights).collect())
    }
}

/// With its revision, whether it was given or not: records say which one was meant.
impl std::fmt::Display for HubModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "hf:{}@{}", self.0.id, self.0.revision)
    }
}

fn fetch_error(hub::Error { what, reason, hint }: hub::Error) -> Error {
    Error::Fetch { what, reason, hint }
}
