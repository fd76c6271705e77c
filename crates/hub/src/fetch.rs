//! From the hub into the cache.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use hf_hub::Cache;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};

use crate::{Error, Kind, Repo, Result, checksum};

/// A repository's files at one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The folder that holds them, under the names they have in the repository.
    pub folder: PathBuf,
    /// The commit.
    pub commit: String,
}

/// Of a request that got no answer.
const RETRIES: usize = 3;

/// A file that arrived damaged is fetched once more.
const ATTEMPTS: usize = 2;

impl Repo {
    /// These files, fetched where the cache lacks them.
    ///
    /// # Errors
    /// If the repository has no such file; without a network, where the cache lacks one.
    pub fn files(&self, names: &[String]) -> Result<Snapshot> {
        let cache = cache();
        let cached = self.cached(&cache, names);
        match cached {
            Some(snapshot) if self.is_pinned() || is_offline() => return Ok(snapshot),
            None if is_offline() => return Err(self.missing_offline(&cache, names)),
            _ => {}
        }
        self.fetch(&cache, cached.is_some(), |there| match names.iter().find(|name| !there.contains(name)) {
            Some(absent) => Err(self.no_file(absent, there)),
            None => Ok(names.to_vec()),
        })
    }

    /// The files that `choose` takes out of all, fetched where the cache lacks them. In the cache alone, where no list of
    /// all is, `sign` stands for them.
    ///
    /// # Errors
    /// As [`Repo::files`], and those of `choose`.
    pub fn chosen(
        &self,
        sign: &str,
        choose: impl FnOnce(&[String]) -> Result<Vec<String>>,
    ) -> Result<Snapshot> {
        let (cache, sign) = (cache(), [sign.to_owned()]);
        let cached = self.cached(&cache, &sign);
        if is_offline() {
            return cached.ok_or_else(|| self.missing_offline(&cache, &sign));
        }
        self.fetch(&cache, cached.is_some(), choose)
    }

    /// The commit that the revision was when it was last asked for, if all `names` of it are there.
    fn cached(&self, cache: &Cache, names: &[String]) -> Option<Snapshot> {
        let commit = if self.is_pinned() {
            self.revision.clone()
        } else {
            let repo = cache.path().join(self.at(&self.revision).folder_name());
            fs::read_to_string(repo.join("refs").join(&self.revision)).ok()?.trim().to_owned()
        };
        let folder = cache.repo(self.at(&commit)).pointer_path(&commit);
        names.iter().all(|name| folder.join(name).exists()).then_some(Snapshot { folder, commit })
    }

    fn fetch(
        &self,
        cache: &Cache,
        cached: bool,
        choose: impl FnOnce(&[String]) -> Result<Vec<String>>,
    ) -> Result<Snapshot> {
        let mut builder = ApiBuilder::from_cache(cache.clone()).with_retries(RETRIES);
        if let Ok(endpoint) = env::var("HF_ENDPOINT") {
            builder = builder.with_endpoint(endpoint);
        }
        if let Ok(token) = env::var("HF_TOKEN") {
            builder = builder.with_token(Some(token));
        }
        let explain = |error: ApiError| self.explain(&error, cache, cached);
        let api = builder.build().map_err(explain)?;
        let info = api.repo(self.at(&self.revision)).info().map_err(explain)?;
        let there: Vec<String> = info.siblings.into_iter().map(|file| file.rfilename).collect();
        let (names, commit) = (choose(&there)?, info.sha);
        // From here on the commit, so that no file is of a later one.
        let folder = cache.repo(self.at(&commit)).pointer_path(&commit);
        let files = api.repo(self.at(&commit));
        for name in names.iter().filter(|name| !folder.join(name).exists()) {
            self.download(&files, name, &explain)?;
        }
        let known = cache.repo(self.at(&self.revision)).create_ref(&commit);
        known.map_err(|error| explain(error.into()))?;
        Ok(Snapshot { folder, commit })
    }

    fn download(&self, files: &ApiRepo, name: &str, explain: &impl Fn(ApiError) -> Error) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let pointer = files.download(name).map_err(explain)?;
            if is_whole(&pointer).map_err(|error| explain(error.into()))? {
                return Ok(());
            }
        }
        let reason = format!("`{name}` arrives with another hash than the hub says, and was thrown away");
        Err(self
            .error(reason, "something on the way changes it: try another network, or another HF_ENDPOINT"))
    }

    fn missing_offline(&self, cache: &Cache, names: &[String]) -> Error {
        let files = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let reason = format!("HF_HUB_OFFLINE is set, and the cache {} lacks {files}", cache.path().display());
        self.error(reason, format!("unset HF_HUB_OFFLINE, or {}", self.otherwise()))
    }

    fn no_file(&self, absent: &str, there: &[String]) -> Error {
        let near = there
            .iter()
            .max_by(|a, b| strsim::jaro_winkler(absent, a).total_cmp(&strsim::jaro_winkler(absent, b)));
        let hint = near.map_or_else(|| "it is empty".to_owned(), |near| format!("did you mean `{near}`?"));
        self.error(format!("it holds no file `{absent}`"), hint)
    }

    fn explain(&self, error: &ApiError, cache: &Cache, cached: bool) -> Error {
        let (text, kind) = (error.to_string(), self.kind);
        let hint = if text.contains("401") || text.contains("403") {
            // Without a token the hub says the same of what is not there.
            format!(
                "a gated or private {kind}, or none: accept its terms on its page and set HF_TOKEN; check the name"
            )
        } else if text.contains("404") {
            format!("no such {kind} or revision")
        } else if matches!(error, ApiError::InvalidResume) {
            let parts = cache.path().join(self.at(&self.revision).folder_name()).join("blobs");
            format!("remove what ends in `.part` in {}", parts.display())
        } else if cached {
            "a copy is in the cache: HF_HUB_OFFLINE=1 takes it without asking".to_owned()
        } else {
            format!("without a network, {}", self.otherwise())
        };
        self.error(text, hint)
    }

    /// What does without the hub.
    fn otherwise(&self) -> &'static str {
        match self.kind {
            Kind::Model => "give a folder that holds config.json, tokenizer.json and model.safetensors",
            Kind::DataSet => {
                "name the folder that holds the task's files (`--data DIR`), or bring a cache along that was filled \
                 elsewhere (HF_HOME)"
            }
        }
    }
}

/// Removes a file that is not what its name in the cache says.
fn is_whole(pointer: &Path) -> std::io::Result<bool> {
    let blob = fs::canonicalize(pointer)?;
    if checksum::is_whole(&blob)? {
        return Ok(true);
    }
    fs::remove_file(pointer)?;
    fs::remove_file(blob)?;
    Ok(false)
}

fn cache() -> Cache {
    env::var_os("HF_HUB_CACHE").map_or_else(Cache::from_env, |path| Cache::new(path.into()))
}

fn is_offline() -> bool {
    env::var("HF_HUB_OFFLINE").is_ok_and(|value| value != "0" && !value.is_empty())
}
