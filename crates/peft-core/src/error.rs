use std::path::PathBuf;

use crate::near;

/// The one error of the libraries: what failed, the value, the place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting has a value that cannot work.
    #[error("`{field} = {value}`: {reason}")]
    Config {
        /// Dotted name of the setting.
        field: String,
        /// The value given.
        value: String,
        /// Why it cannot work.
        reason: String,
    },
    /// A name that is not one of the known ones.
    #[error("unknown {what} `{name}`")]
    Unknown {
        /// Kind of thing: method, setting, …
        what: String,
        /// The name given.
        name: String,
        /// What exists.
        known: Vec<String>,
    },
    /// A pattern (target, exclusion, rank or alpha pattern) that matches no module.
    #[error("{what} `{pattern}` matches no linear layer of the model{}", because(reason.as_deref()))]
    Unmatched {
        /// Where the pattern came from: target, exclusion, rank pattern, …
        what: &'static str,
        /// The pattern.
        pattern: String,
        /// Why it could never match, if that is known.
        reason: Option<String>,
        /// Names that exist in the model.
        known: Vec<String>,
    },
    /// A method cannot adapt this site.
    #[error("site `{site}`: {reason}")]
    Site {
        /// Module path.
        site: String,
        /// Why.
        reason: String,
    },
    /// Tensors do not fit what was expected, name by name.
    #[error("{origin}: {}", describe_state_dict(missing, unexpected, mismatched))]
    StateDict {
        /// File or run the tensors come from.
        origin: String,
        /// Expected, not there.
        missing: Vec<String>,
        /// There, not expected.
        unexpected: Vec<String>,
        /// There, with the wrong shape or kind: a sentence each.
        mismatched: Vec<String>,
    },
    /// The adapter was made for other weights.
    #[error("{origin}: made for another base model (fingerprint `{theirs}`, this model has `{ours}`)")]
    WrongBase {
        /// The adapter file.
        origin: String,
        /// Fingerprint in the file.
        theirs: String,
        /// Fingerprint of the model at hand.
        ours: String,
    },
    /// Something that is refused, with its reason.
    #[error("{what} is not supported: {reason}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// Why not.
        reason: String,
    },
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that is not what its name says.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Something that could not be had from elsewhere.
    #[error("`{what}` could not be fetched: {reason}")]
    Fetch {
        /// What was asked for.
        what: String,
        /// What went wrong.
        reason: String,
        /// What the user might do about it.
        hint: String,
    },
    /// A TOML text that does not parse; the message holds line and column.
    #[error("{origin}: {source}")]
    Toml {
        /// File or section.
        origin: String,
        /// What the parser said.
        source: Box<toml::de::Error>,
    },
    /// libtorch failed.
    #[error("libtorch: {}", first_line(.0))]
    Tch(#[from] tch::TchError),
    /// A custom backward could not be recorded.
    #[error(transparent)]
    Autograd(#[from] autograd::Error),
}

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A [`Error::Config`] from anything that prints.
    pub fn config(field: impl Into<String>, value: impl ToString, reason: impl Into<String>) -> Self {
        Self::Config { field: field.into(), value: value.to_string(), reason: reason.into() }
    }

    /// A [`Error::Site`].
    pub fn site(site: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Site { site: site.into(), reason: reason.into() }
    }

    /// A [`Error::Io`].
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    /// A [`Error::Format`].
    pub fn format(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Self::Format { path: path.into(), reason: reason.to_string() }
    }

    /// What the user might do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { name, known, .. } => Some(near::suggestion(name, known)),
            Self::Unmatched { pattern, known, .. } => Some(near::suggestion(pattern, known)),
            Self::StateDict { missing, unexpected, .. } => state_dict_hint(missing, unexpected),
            Self::Fetch { hint, .. } => Some(hint.clone()),
            Self::WrongBase { .. } => {
                Some("give the model the adapter was trained on, or train the adapter again".to_owned())
            }
            _ => None,
        }
    }
}

fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

fn state_dict_hint(missing: &[String], unexpected: &[String]) -> Option<String> {
    let (wanted, found) = (missing.first()?, unexpected.first()?);
    if wanted.ends_with(found.as_str()) {
        let prefix = &wanted[..wanted.len() - found.len()];
        return Some(format!("the names lack the prefix `{prefix}`"));
    }
    if found.ends_with(wanted.as_str()) {
        let prefix = &found[..found.len() - wanted.len()];
        return Some(format!("the names carry a surplus prefix `{prefix}`"));
    }
    Some(format!("expected names such as `{wanted}`, found names such as `{found}`"))
}

/// A list that stays readable for a model of a thousand tensors.
fn describe_state_dict(missing: &[String], unexpected: &[String], mismatched: &[String]) -> String {
    let part = |label: &str, names: &[String]| {
        let shown = names.iter().take(3).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
        let more = names.len().saturating_sub(3);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!names.is_empty()).then(|| format!("{} {label}: {shown}{more}", names.len()))
    };
    [part("missing", missing), part("unexpected", unexpected), part("mismatched", mismatched)]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("; ")
}

/// A `TchError` carries a C++ stack; the first line says what happened.
fn first_line(error: &tch::TchError) -> String {
    let text = error.to_string();
    text.split("Exception raised from").next().unwrap_or(&text).trim().to_owned()
}
