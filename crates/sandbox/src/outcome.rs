//! What became of a program.

use std::fmt;
use std::time::Duration;

/// What became of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The beginning of its standard output, as far as the limit goes; what is not UTF-8 is replaced.
    pub stdout: String,
    /// The same of its standard error.
    pub stderr: String,
    /// From its start to its end.
    pub time: Duration,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this exit code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
    /// Killed: its processor time was over.
    CpuTime,
    /// Killed: its time on the clock was over.
    WallTime,
    /// Killed: it wrote more than is kept.
    Output,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signaled(signal) => write!(f, "signal {signal}"),
            Self::CpuTime => f.write_str("out of processor time"),
            Self::WallTime => f.write_str("out of time"),
            Self::Output => f.write_str("too much output"),
        }
    }
}
