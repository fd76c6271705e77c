//! What can be wrong with a pack, with the value and the place.

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is wrong with a pack, or with the runs that are held against it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A pack does not say something this version understands.
    #[error("`{origin}`{}: {reason}", .line.map(|n| format!(" line {n}")).unwrap_or_default())]
    Config {
        /// The file, or what stands for it.
        origin: String,
        /// Line, from 1, where known.
        line: Option<usize>,
        /// What is wrong.
        reason: String,
        /// What was probably meant.
        hint: Option<String>,
    },
    /// Settings of a pack do not fit their task.
    #[error("`{origin}`: the settings of row `{row}` on task `{task}` do not hold: {source}")]
    Task {
        /// The pack.
        origin: String,
        /// The row.
        row: String,
        /// The task.
        task: String,
        /// What the task says.
        source: Box<tasks::Error>,
    },
    /// No pack has this name.
    #[error("no table is called `{name}`")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The measured runs cannot be ranked.
    #[error(transparent)]
    Compare(#[from] compare::Error),
}

impl Error {
    /// What the user probably meant or can do, printed apart from the message.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config { hint, .. } => hint.clone(),
            Self::Task { source, .. } => source.hint(),
            Self::Unknown { name, known } => suggest(name, known.iter().map(String::as_str)),
            Self::Compare(source) => source.hint(),
        }
    }

    /// A contradiction in a pack whose text is well-formed.
    pub(crate) fn pack(origin: &str, reason: impl Into<String>, hint: Option<String>) -> Self {
        Self::Config { origin: origin.to_owned(), line: None, reason: reason.into(), hint }
    }
}

/// What serde and toml found wrong, with its line and the nearest known name.
pub(crate) fn syntax(error: &toml::de::Error, text: &str, origin: &str) -> Error {
    let message = error.message();
    // serde words an unknown name as "unknown field `x`, expected one of `a`, `b`".
    let hint = message.strip_prefix("unknown ").and_then(|rest| {
        let mut names = rest.split('`').skip(1).step_by(2);
        suggest(names.next()?, names)
    });
    let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    Error::Config { origin: origin.to_owned(), line, reason: message.to_owned(), hint }
}

/// "did you mean `x`?" for a near name, else the list of what is known.
pub(crate) fn suggest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<_> = known.into_iter().collect();
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4 && *distance < name.len());
    match (nearest, known.is_empty()) {
        (Some((_, name)), _) => Some(format!("did you mean `{name}`?")),
        (None, false) => Some(format!("known: {}", known.join(", "))),
        (None, true) => None,
    }
}
