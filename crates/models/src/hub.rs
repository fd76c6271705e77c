//! Models of the Hugging Face hub, through the cache that its own tools share.
//!
//! | variable | |
//! |---|---|
//! | `HF_HOME`, `HF_HUB_CACHE` | where the cache is |
//! | `HF_TOKEN` | the token for gated and private models; else the one that `hf auth login` left in the cache |
//! | `HF_ENDPOINT` | another hub |
//! | `HF_HUB_OFFLINE=1` | only the cache |
//!
//! A download that broke off goes on where it stopped.

use std::env;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};
use peft_core::{Error, Result};

const CONFIG: &str = "config.json";
const RETRIES: usize = 3;

/// `REPO[@REVISION]` of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubModel {
    /// `owner/name`.
    pub repo: String,
    /// Branch, tag or commit.
    pub revision: String,
}

impl HubModel {
    /// From what follows `hf:`.
    ///
    /// # Errors
    /// [`Error::Config`] for another form.
    pub fn parse(text: &str) -> Result<Self> {
        let (repo, revision) = text.split_once('@').unwrap_or((text, "main"));
        let well_formed = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        if revision.is_empty() || !repo.split('/').all(well_formed) || repo.split('/').count() > 2 {
            let reason = "expected `hf:OWNER/NAME`, or `hf:OWNER/NAME@REVISION`";
            return Err(Error::config("model", format!("hf:{text}"), reason));
        }
        Ok(Self { repo: repo.to_owned(), revision: revision.to_owned() })
    }

    /// The folder of its files, which are fetched first where the cache lacks them.
    ///
    /// # Errors
    /// [`Error::Fetch`].
    pub fn folder(&self) -> Result<PathBuf> {
        let cache = env::var_os("HF_HUB_CACHE").map_or_else(Cache::from_env, |path| Cache::new(path.into()));
        let repo = Repo::with_revision(self.repo.clone(), RepoType::Model, self.revision.clone());
        let cached = cache.repo(repo.clone()).get(CONFIG);
        if env::var("HF_HUB_OFFLINE").is_ok_and(|value| value != "0" && !value.is_empty()) {
            let reason = format!("HF_HUB_OFFLINE is set, and the cache {} lacks it", cache.path().display());
            let hint = "unset HF_HUB_OFFLINE, or give a folder";
            return cached.map(|config| parent(&config)).ok_or_else(|| self.failed(reason, hint));
        }
        let mut builder = ApiBuilder::from_cache(cache).with_retries(RETRIES);
        if let Ok(endpoint) = env::var("HF_ENDPOINT") {
            builder = builder.with_endpoint(endpoint);
        }
        if let Ok(token) = env::var("HF_TOKEN") {
            builder = builder.with_token(Some(token));
        }
        let explain = |error: ApiError| self.explain(&error, cached.is_some());
        let api = builder.build().map_err(explain)?.repo(repo);
        let there: Vec<String> =
            api.info().map_err(explain)?.siblings.into_iter().map(|file| file.rfilename).collect();
        for file in self.wanted(&there)? {
            api.get(file).map_err(explain)?;
        }
        api.get(CONFIG).map(|config| parent(&config)).map_err(explain)
    }

    /// Configuration, tokenizer, and weights: one file, or what an index names.
    fn wanted<'a>(&self, there: &'a [String]) -> Result<Vec<&'a str>> {
        let weights: Vec<&str> = there
            .iter()
            .map(String::as_str)
            .filter(|f| f.starts_with("model") && f.contains(".safetensors"))
            .collect();
        if weights.is_empty() {
            let reason = "it holds no model.safetensors".to_owned();
            return Err(
                self.failed(reason, "other formats are not read; convert it, or take another revision")
            );
        }
        let json = there.iter().map(String::as_str).filter(|f| {
            let path = Path::new(f);
            path.parent() == Some(Path::new("")) && path.extension().is_some_and(|end| end == "json")
        });
        let json = json.filter(|f| !weights.contains(f));
        Ok(json.chain(weights.iter().copied()).collect())
    }

    fn explain(&self, error: &ApiError, cached: bool) -> Error {
        let text = error.to_string();
        let hint = if text.contains("401") || text.contains("403") {
            "a gated or private model: accept its terms on its page and set HF_TOKEN"
        } else if text.contains("404") {
            "no such model or revision"
        } else if cached {
            "a copy is in the cache: HF_HUB_OFFLINE=1 takes it without asking"
        } else {
            "without a network, give a folder that holds config.json, tokenizer.json and model.safetensors"
        };
        self.failed(text, hint)
    }

    fn failed(&self, reason: String, hint: &str) -> Error {
        Error::Fetch { what: format!("hf:{}@{}", self.repo, self.revision), reason, hint: hint.to_owned() }
    }
}

fn parent(file: &Path) -> PathBuf {
    file.parent().map(Path::to_owned).unwrap_or_default()
}
