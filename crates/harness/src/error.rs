use std::path::PathBuf;

/// What the harness refuses, or what one of its libraries did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The loss is NaN or infinite.
    #[error("the loss is {loss} at step {step} of phase `{phase}`")]
    NonFinite {
        /// The value.
        loss: f64,
        /// 0-based optimizer step.
        step: u64,
        /// The phase.
        phase: &'static str,
    },
    /// A phase that updates has no gradient.
    #[error("the gradient is identically zero in the first step of phase `{phase}`")]
    NoGradient {
        /// The phase.
        phase: &'static str,
    },
    /// A phase has nothing to train.
    #[error("no parameter trains in phase `{phase}`")]
    NothingTrains {
        /// The phase.
        phase: &'static str,
    },
    /// A frozen weight was written to.
    #[error("a frozen weight was modified while training")]
    FrozenMoved,
    /// A merged model does not compute what the adapter does.
    #[error("merging changed the logits by {difference:e}, allowed are {allowed:e}")]
    MergeDiffers {
        /// Largest absolute difference.
        difference: f64,
        /// The tolerance.
        allowed: f64,
    },
    /// A configuration entry.
    #[error("{origin}{}: {reason}", at(*line))]
    Config {
        /// File, section or flag.
        origin: String,
        /// 1-based, where known.
        line: Option<usize>,
        /// What is wrong.
        reason: String,
        /// What might be meant.
        hint: Option<String>,
    },
    /// A name given on the command line.
    #[error("unknown {what} `{name}`")]
    Unknown {
        /// Kind of thing.
        what: &'static str,
        /// The name.
        name: String,
        /// What exists.
        known: Vec<String>,
    },
    /// Flags that do not go together.
    #[error("{0}")]
    Usage(String),
    /// A program cannot read an adapter in any form.
    #[error("{reader} cannot read this `{method}` adapter: {reason}")]
    CannotExport {
        /// The program.
        reader: &'static str,
        /// The adapter's method.
        method: &'static str,
        /// Why not.
        reason: String,
    },
    /// The output folder cannot be used.
    #[error("cannot write to `{}`: {source}", path.display())]
    Output {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A checkpoint cannot be written.
    #[error("cannot write the checkpoint `{}`: {source}", path.display())]
    Checkpoint {
        /// Its folder.
        path: PathBuf,
        /// What went wrong.
        source: peft_core::Error,
    },
    /// There is a checkpoint, of another run.
    #[error("the checkpoint `{}` is of another run: {}", path.display(), shortened(differences))]
    OtherRun {
        /// Its folder.
        path: PathBuf,
        /// What differs: a sentence each.
        differences: Vec<String>,
    },
    /// Some runs or cases failed; they were reported one by one.
    #[error("{0}")]
    Failed(String),
    /// A check has no answer.
    #[error("cannot check: {reason}")]
    CannotCheck {
        /// Why not.
        reason: String,
        /// What might be done about it.
        hint: Option<String>,
    },
    /// Ctrl-C.
    #[error("interrupted; what was measured is kept")]
    Interrupted,
    /// From the methods' side.
    #[error(transparent)]
    Core(#[from] peft_core::Error),
    /// From the tasks.
    #[error(transparent)]
    Tasks(#[from] tasks::Error),
    /// From records and tables.
    #[error(transparent)]
    Compare(#[from] compare::Error),
    /// From `tables`.
    #[error(transparent)]
    Tables(#[from] tables::Error),
    /// From libtorch.
    #[error("libtorch: {}", first_line(.0))]
    Tch(#[from] tch::TchError),
}

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What the process exits with.
    pub fn exit_code(&self) -> u8 {
        /// What shells report for a process ended by SIGINT.
        const INTERRUPTED: u8 = 130;
        match self {
            Self::Interrupted => INTERRUPTED,
            Self::CannotCheck { .. } => 2,
            _ => 1,
        }
    }

    /// What the user might do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NonFinite { .. } => {
                Some("lower the learning rate, or clip gradients (`task.training.clip`)".to_owned())
            }
            Self::NoGradient { .. } => Some("the targets may not take part in the loss".to_owned()),
            Self::Unknown { name, known, .. } => Some(peft_core::near::suggestion(name, known)),
            Self::CannotExport { .. } => Some(
                "write the adapter into its base instead, which every program reads: harness merge-into-base \
                 --adapter DIR --out MODEL"
                    .to_owned(),
            ),
            Self::Checkpoint { .. } => Some(
                "older checkpoints are as they were: with room to write, the same command goes on from the newest; \
                 `--checkpoint-every 0` does without"
                    .to_owned(),
            ),
            Self::OtherRun { .. } => Some(
                "finish that run with the settings it had, or give this one an `--out` of its own, or remove that \
                 checkpoint"
                    .to_owned(),
            ),
            Self::Config { hint, .. } | Self::CannotCheck { hint, .. } => hint.clone(),
            Self::Core(error) => error.hint(),
            Self::Tasks(error) => error.hint(),
            Self::Tables(error) => error.hint(),
            _ => None,
        }
    }
}

/// The first few of many.
fn shortened(sentences: &[String]) -> String {
    const SHOWN: usize = 3;
    let more = sentences.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    sentences.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ") + &more
}

fn at(line: Option<usize>) -> String {
    line.map(|line| format!(" line {line}")).unwrap_or_default()
}

/// A `TchError` carries a C++ stack; the first line says what happened.
fn first_line(error: &tch::TchError) -> String {
    let text = error.to_string();
    text.split("Exception raised from").next().unwrap_or(&text).trim().to_owned()
}
