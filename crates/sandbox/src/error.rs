//! What can go wrong apart from the program itself.

use crate::Need;
use std::path::PathBuf;

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why programs cannot be run here, or one could not be started. What a program does is never an error: it is an
/// [`Outcome`](crate::Outcome).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no Python, or none that the program's user may execute.
    #[error("no `python3` on `PATH` can be run{}", reasons(.tried))]
    NoPython {
        /// What was found, and why it does not do.
        tried: Vec<String>,
    },
    /// Generated code would not be isolated here.
    #[error("generated code cannot be isolated here: nothing guards {}{}", list(.needs), reasons(.tried))]
    NotIsolated {
        /// What would stay open.
        needs: Vec<Need>,
        /// Each combination of walls that was tried, and where it failed.
        tried: Vec<String>,
    },
    /// Isolation is not written for this system.
    #[error("generated code cannot be isolated on `{system}`")]
    UnknownSystem {
        /// The operating system.
        system: &'static str,
    },
    /// A program could not be started behind its walls.
    #[error("cannot start a program ({step}): {source}")]
    Start {
        /// The step that failed.
        step: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A program's folder could not be made or filled.
    #[error("cannot write `{}`: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// What the user can do, printed apart from the message.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoPython { .. } => Some(
                "install Python 3; when running as root it must be executable by the user `nobody`, as \
                 `/usr/bin/python3` is"
                    .to_owned(),
            ),
            Self::NotIsolated { .. } => Some(
                "isolation needs seccomp, and Landlock (Linux 6.2) or user namespaces; \
                 `--allow-unsafe-code-execution` runs generated code with what this machine has, which may be \
                 limits on time and memory only"
                    .to_owned(),
            ),
            Self::UnknownSystem { .. } => Some("run this task on Linux, or in a Linux container".to_owned()),
            Self::Start { .. } | Self::Io { .. } => None,
        }
    }
}

fn reasons(tried: &[String]) -> String {
    if tried.is_empty() { String::new() } else { format!(": {}", tried.join("; ")) }
}

fn list(needs: &[Need]) -> String {
    needs.iter().map(|need| need.name()).collect::<Vec<_>>().join(", ")
}
