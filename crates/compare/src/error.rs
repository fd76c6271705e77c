use std::io;
use std::path::PathBuf;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a user can get wrong, and what a disk can.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A file is not the JSON that was expected.
    #[error("`{origin}` is not a valid {what}")]
    Json {
        /// What the text should have been.
        what: &'static str,
        /// The file.
        origin: String,
        /// Where and why the parser stopped.
        source: serde_json::Error,
    },
    /// The file carries no usable `schema` number.
    #[error("`{origin}` has no `schema` number, so it is not a run record")]
    NoSchema {
        /// The file.
        origin: String,
    },
    /// The file was written by a newer version.
    #[error("`{origin}` has schema {found}, but this version reads up to {newest}")]
    NewerSchema {
        /// The file.
        origin: String,
        /// The schema it carries.
        found: u64,
        /// The newest one known here.
        newest: u64,
    },
    /// A record contradicts itself.
    #[error("run `{id}` is not valid: {reason}")]
    Record {
        /// The record.
        id: String,
        /// What contradicts what.
        reason: String,
    },
    /// An item's columns are not what a metric is made from.
    #[error("item `{id}` cannot be scored by `{metric}`: {reason}")]
    Item {
        /// The item.
        id: String,
        /// The metric.
        metric: String,
        /// What is missing or wrong.
        reason: String,
    },
    /// A metric has no value, or its definition contradicts itself.
    #[error("metric `{metric}` cannot be measured: {reason}")]
    Metric {
        /// The metric.
        metric: String,
        /// Why.
        reason: String,
    },
    /// A record names per-item outcomes that are not beside it.
    #[error("the per-item outcomes of run `{id}` are missing: `{}`", path.display())]
    MissingOutcomes {
        /// The record.
        id: String,
        /// Where they should be.
        path: PathBuf,
    },
    /// The per-item outcomes are not those the record was made from.
    #[error("`{}` does not hold the outcomes its record was made from: {reason}", path.display())]
    OutcomesChanged {
        /// The outcomes' file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// The store only ever adds.
    #[error("`{}` is already stored and records are never overwritten", path.display())]
    AlreadyStored {
        /// The file in the way.
        path: PathBuf,
    },
    /// Two runs claim the same place in a table.
    #[error("runs `{first}` and `{second}` are both `{method}` on `{task}` with seed {seed}")]
    Duplicate {
        /// The exact method.
        method: String,
        /// The task.
        task: String,
        /// The seed.
        seed: u64,
        /// One run.
        first: String,
        /// The other.
        second: String,
    },
    /// A run that did not succeed has no score to report.
    #[error("run `{id}` cannot be reported: {status}")]
    NotFinished {
        /// The run.
        id: String,
        /// How it ended.
        status: String,
    },
    /// Scores that were made under different rules are not comparable.
    #[error("runs `{first}` and `{second}` disagree on `{metric}` of `{task}`: {reason}")]
    MixedMetric {
        /// The task.
        task: String,
        /// The metric.
        metric: String,
        /// One run.
        first: String,
        /// The other.
        second: String,
        /// What differs.
        reason: String,
    },
    /// A ranking compares methods on one task.
    #[error("a ranking needs runs of one task, got `{first}` and `{second}`")]
    DifferentTasks {
        /// One task.
        first: String,
        /// The other.
        second: String,
    },
    /// Runs of one task did not see the same items or the same data.
    #[error("runs `{first}` and `{second}` of task `{task}` are not comparable: {reason}")]
    DifferentItems {
        /// The task.
        task: String,
        /// One run.
        first: String,
        /// The other.
        second: String,
        /// What differs.
        reason: String,
    },
    /// No run of the set has the metric.
    #[error("no run of task `{task}` has metric `{metric}`")]
    UnknownMetric {
        /// The task.
        task: String,
        /// What was asked for.
        metric: String,
        /// What there is.
        known: Vec<String>,
    },
    /// There is nothing to tabulate.
    #[error("there are no runs to report")]
    NoRuns,
    /// A path that was pointed at holds no run.
    #[error("`{}` holds no run", path.display())]
    NoRunsIn {
        /// The file or folder.
        path: PathBuf,
    },
    /// A gate compared nothing.
    #[error("the two sets of runs have nothing in common, so nothing was compared")]
    NothingCompared,
    /// A question about power that has no answer.
    #[error("no sample size answers this: {reason}")]
    Power {
        /// Why not.
        reason: String,
    },
    /// A Hugging Face `method_comparison` file cannot be read or written.
    #[error("`{origin}` cannot be exchanged with PEFT's method comparison: {reason}")]
    Exchange {
        /// The file or the run.
        origin: String,
        /// What is missing or wrong.
        reason: String,
    },
    /// A mark in a text, for a table of records, is malformed.
    #[error("line {line}: {reason}")]
    Block {
        /// The mark's line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A table could not be written as CSV.
    #[error("the table cannot be written as CSV")]
    Csv(#[from] csv::Error),
}

impl Error {
    /// What the user may do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NewerSchema { .. } => Some("update this program, or make the record again".into()),
            Self::Duplicate { .. } => Some("keep the newest of each with `latest`".into()),
            Self::NoRunsIn { .. } => Some(
                "a run's folder has records in `records/<suite>/<task>/<method>/seed-<n>/`; results of PEFT's \
                 method comparison are `.json` files with `run_info`"
                    .into(),
            ),
            Self::MixedMetric { .. } => Some("score the older run again: `harness rescore`".into()),
            Self::UnknownMetric { metric, known, .. } => {
                let near = known.iter().max_by(|a, b| {
                    strsim::jaro_winkler(metric, a).total_cmp(&strsim::jaro_winkler(metric, b))
                })?;
                Some(format!("did you mean `{near}`? known: {}", known.join(", ")))
            }
            _ => None,
        }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
