use std::fmt;

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The adapter computes something else than it was trained to, somewhere.
    Error,
    /// It may, depending on who reads it.
    Warning,
}

/// Something that is wrong with an adapter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Which check found it.
    pub check: &'static str,
    /// What is wrong.
    pub what: String,
    /// File, tensor or module.
    pub place: String,
    /// What to do.
    pub advice: String,
}

impl Finding {
    pub(super) fn error(
        check: &'static str,
        place: impl Into<String>,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let (what, place, advice) = (what.into(), place.into(), advice.into());
        Self { severity: Severity::Error, check, what, place, advice }
    }

    pub(super) fn warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity} [{}] {}: {}; {}", self.check, self.place, self.what, self.advice)
    }
}
