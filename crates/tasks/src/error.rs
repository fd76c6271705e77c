//! What can go wrong, with the value and the place.

use std::path::PathBuf;

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a task: its file, its data, its prompts, its tokens or its scoring.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration file does not say something this version understands.
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
    /// A file could not be read or written.
    #[error("cannot read `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The task needs data files and no folder was named.
    #[error("task `{task}` reads files and no data folder was given")]
    NoDataDir {
        /// The task.
        task: String,
    },
    /// The task's repository of the hub lacks a file.
    #[error("task `{task}` reads `{}`, which its repository {repo} does not hold", file.display())]
    NotOnHub {
        /// The task.
        task: String,
        /// The repository.
        repo: String,
        /// The file.
        file: PathBuf,
        /// Presets of the task, which may read others.
        presets: Vec<String>,
    },
    /// Data could not be had from the hub.
    #[error("cannot fetch {0}")]
    Hub(#[from] hub::Error),
    /// A record of a data file is malformed.
    #[error("`{}` line {line}: {reason}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Line, from 1; for a JSON array the line where the record ends.
        line: usize,
        /// What is wrong.
        reason: String,
        /// What was probably meant.
        hint: Option<String>,
    },
    /// A data file holds no record.
    #[error("`{}` holds no records", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A task has no items for what is asked of it.
    #[error("task `{task}` has no {split} split: its file says `{split} = \"none\"`")]
    NoSplit {
        /// The task.
        task: String,
        /// The split.
        split: &'static str,
    },
    /// A split rule asks for more than there is.
    #[error("task `{task}` wants {wanted} items in its {split} split and only {found} exist")]
    TooFewItems {
        /// The task.
        task: String,
        /// The split.
        split: &'static str,
        /// Items asked for.
        wanted: usize,
        /// Items found.
        found: usize,
    },
    /// The tokenizer failed or lacks a token a rule needs.
    #[error("tokenizer: {reason}")]
    Tokenizer {
        /// What is wrong.
        reason: String,
    },
    /// A sequence is longer than allowed and the task's truncation rule is `error`.
    #[error("item `{item}` has {tokens} tokens and {room} fit")]
    TooLong {
        /// The item.
        item: String,
        /// Its tokens.
        tokens: usize,
        /// The limit: `max_length` for a training sequence, what the answer leaves of the context for a prompt.
        room: usize,
    },
    /// An item's label is none that its task knows.
    #[error("item `{item}`: {reason}")]
    Label {
        /// The item.
        item: String,
        /// What is wrong.
        reason: String,
    },
    /// Nothing is left to train on.
    #[error("no item of the {split} split has a token that counts for the loss ({dropped} dropped)")]
    NothingToTrainOn {
        /// The split.
        split: &'static str,
        /// Items the truncation rule dropped.
        dropped: usize,
    },
    /// An item lacks a field that scoring needs, or outputs do not match the items.
    #[error("scoring `{item}`: {reason}")]
    Scoring {
        /// The item.
        item: String,
        /// What is wrong.
        reason: String,
    },
    /// Generated code cannot be run here.
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
}

impl Error {
    /// What the user probably meant or can do, printed apart from the message.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config { hint, .. } | Self::Record { hint, .. } => hint.clone(),
            Self::NoDataDir { .. } => {
                Some("name the folder with `--data DIR`, or a repository of the hub with `--data hf:OWNER/NAME`".to_owned())
            }
            Self::NotOnHub { presets, .. } => {
                let preset = if presets.is_empty() { "" } else { ", or take a preset that reads others: `--preset " };
                let end = if presets.is_empty() { "" } else { "`" };
                Some(format!("name a folder that holds it with `--data DIR`{preset}{}{end}", presets.join("`, `--preset ")))
            }
            Self::Hub(error) => Some(error.hint.clone()),
            Self::TooLong { .. } => Some(
                "raise `max_length` as far as the model's context goes, or set `truncation` to `keep_start`, \
                 `keep_end` or `drop`".to_owned(),
            ),
            Self::NothingToTrainOn { .. } => Some("raise `max_length`".to_owned()),
            Self::Sandbox(error) => error.hint(),
            Self::TooFewItems { .. } => Some("ask for fewer items".to_owned()),
            _ => None,
        }
    }
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
