//! What a user may write for a repository.

use std::fmt;

use crate::{Error, Result};

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A model.
    Model,
    /// A data set.
    DataSet,
}

/// `OWNER/NAME[@REVISION]` of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repo {
    /// What it holds.
    pub kind: Kind,
    /// `owner/name`; a few old ones have no owner.
    pub id: String,
    /// Branch, tag or commit.
    pub revision: String,
}

const MAIN: &str = "main";

impl Repo {
    /// From what follows `hf:`; without a revision the branch `main` is meant.
    ///
    /// # Errors
    /// For another form.
    pub fn parse(kind: Kind, text: &str) -> Result<Self> {
        let (id, revision) = text.split_once('@').unwrap_or((text, MAIN));
        let well_formed = |part: &str| {
            let dots = part.chars().all(|c| c == '.');
            !dots && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        let parts =
            |text: &str, most: usize| text.split('/').count() <= most && text.split('/').all(well_formed);
        if !parts(id, 2) || !parts(revision, usize::MAX) {
            return Err(Error {
                what: format!("hf:{text}"),
                reason: "expected `hf:OWNER/NAME`, or `hf:OWNER/NAME@REVISION`".to_owned(),
                hint: "the owner and the name are those of the page: huggingface.co/OWNER/NAME for a model, \
                       huggingface.co/datasets/OWNER/NAME for a data set"
                    .to_owned(),
            });
        }
        Ok(Self { kind, id: id.to_owned(), revision: revision.to_owned() })
    }

    /// An error about this repository.
    #[must_use]
    pub fn error(&self, reason: impl Into<String>, hint: impl Into<String>) -> Error {
        Error { what: self.to_string(), reason: reason.into(), hint: hint.into() }
    }

    /// Whether the revision is a whole commit, which never changes.
    pub(crate) fn is_pinned(&self) -> bool {
        self.revision.len() == 40 && self.revision.chars().all(|c| c.is_ascii_hexdigit())
    }

    /// The same at another revision, as the client takes it.
    pub(crate) fn at(&self, revision: &str) -> hf_hub::Repo {
        let kind = match self.kind {
            Kind::Model => hf_hub::RepoType::Model,
            Kind::DataSet => hf_hub::RepoType::Dataset,
        };
        hf_hub::Repo::with_revision(self.id.clone(), kind, revision.to_owned())
    }
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf:{}", self.id)?;
        if self.revision == MAIN { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Model => "model",
            Self::DataSet => "data set",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        let parse = |text| Repo::parse(Kind::DataSet, text);
        let repo = parse("openai/gsm8k").unwrap();
        assert_eq!((repo.id.as_str(), repo.revision.as_str()), ("openai/gsm8k", "main"));
        assert_eq!(repo.to_string(), "hf:openai/gsm8k");
        let branch = parse("openai/gsm8k@refs/pr/3").unwrap();
        assert_eq!((branch.revision.as_str(), branch.is_pinned()), ("refs/pr/3", false));
        assert_eq!(branch.to_string(), "hf:openai/gsm8k@refs/pr/3");
        assert!(parse("squad@0123456789abcdef0123456789abcdef01234567").unwrap().is_pinned());
        for wrong in ["", "a b/c", "a/b/c", "a/b@", "/b", "a/", "../b", "a/b@../c", "a/b@x//y"] {
            let error = parse(wrong).unwrap_err();
            assert!(error.to_string().contains(&format!("`hf:{wrong}`")), "{error}");
        }
    }
}
