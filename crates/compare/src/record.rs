//! What one run leaves behind.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::metric::{MetricValue, Scale};
use crate::migrate::SCHEMA;
use crate::outcome::{OutcomesFile, Split};
use crate::parts::{Curves, DataFile, DataSplit, Environment, Memory, Model, Parameters, PhaseRecord, Total};
use crate::sequence::Sequence;

/// The method name of a run that evaluates the unadapted model.
pub const BASE: &str = "base";

/// One run: one method on one task with one seed.
///
/// What is not known is `None` (JSON `null`), never 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// Version of this layout, [`SCHEMA`].
    pub schema: u64,
    /// Unique name of the run; see [`run_id`].
    pub id: String,
    /// 0 for what the run itself wrote, then one more each time it is scored again.
    pub revision: u32,
    /// Start of the run.
    pub created_at: Timestamp,
    /// Exact name in the method registry, or [`BASE`].
    pub method: String,
    /// The registry's family, which groups variants.
    pub family: String,
    /// The method's variant within its name (`d`, `s`), empty where there is none.
    pub variant: String,
    /// Task the run trained for and was scored on.
    pub task: String,
    /// Suite the run was part of.
    pub suite: Option<String>,
    /// Root seed.
    pub seed: u64,
    /// The model that was adapted.
    pub model: Model,
    /// The full effective configuration: everything that decides the result. Runs whose configurations differ in more
    /// than keys called `seed` are not pooled.
    pub config: Value,
    /// Where it ran.
    pub environment: Environment,
    /// The data, by split.
    pub data: BTreeMap<Split, DataSplit>,
    /// The files that the data were read from; none where they are generated.
    pub files: Vec<DataFile>,
    /// Sizes in values.
    pub parameters: Parameters,
    /// The stretches of training, in order.
    pub phases: Vec<PhaseRecord>,
    /// Cost of this run and of the runs it needed.
    pub total: Total,
    /// Memory of this run.
    pub memory: Memory,
    /// Size of the saved adapter.
    pub adapter_bytes: Option<u64>,
    /// What changed while training.
    pub curves: Curves,
    /// Seconds of the final evaluation.
    pub evaluation_seconds: Option<f64>,
    /// Scores on the test split, the task's primary metric first.
    pub metrics: Vec<MetricValue>,
    /// Scores while several tasks were learned one after another; `None` for a run that learns one.
    pub sequence: Option<Sequence>,
    /// The per-item outcomes stored beside the record; the store fills this in.
    pub outcomes: Option<OutcomesFile>,
    /// Ids of the runs this one took input from.
    pub needs: Vec<String>,
    /// Warnings and remarks, for people.
    pub notes: Vec<String>,
    /// How it ended.
    pub status: Status,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum Status {
    /// To the end.
    Success,
    /// By the user or the machine; what was measured is kept.
    Interrupted,
    /// By an error.
    Failed {
        /// The error.
        reason: String,
    },
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Success => f.write_str("it succeeded"),
            Self::Interrupted => f.write_str("it was interrupted"),
            Self::Failed { reason } => write!(f, "it failed: {reason}"),
        }
    }
}

impl RunRecord {
    /// A record that knows who and when, and nothing else yet; its status is interrupted until the run says otherwise.
    pub fn new(created_at: Timestamp, method: &str, task: &str, seed: u64) -> Self {
        Self {
            schema: SCHEMA,
            id: run_id(created_at, method, task, seed),
            revision: 0,
            created_at,
            method: method.to_owned(),
            family: method.to_owned(),
            variant: String::new(),
            task: task.to_owned(),
            suite: None,
            seed,
            model: Model::default(),
            config: Value::Null,
            environment: Environment::default(),
            data: BTreeMap::new(),
            files: Vec::new(),
            parameters: Parameters::default(),
            phases: Vec::new(),
            total: Total::default(),
            memory: Memory::default(),
            adapter_bytes: None,
            curves: Curves::default(),
            evaluation_seconds: None,
            metrics: Vec::new(),
            sequence: None,
            outcomes: None,
            needs: Vec::new(),
            notes: Vec::new(),
            status: Status::Interrupted,
        }
    }

    /// Whether this run evaluates the unadapted model, which no seed changes.
    pub fn is_base(&self) -> bool {
        self.method == BASE
    }

    /// Optimizer steps of this run alone.
    pub fn steps(&self) -> u64 {
        self.phases.iter().map(|phase| phase.steps).sum()
    }

    /// The metric of that name.
    pub fn metric(&self, name: &str) -> Option<&MetricValue> {
        self.metrics.iter().find(|m| m.name == name)
    }

    /// Refuses a record that contradicts itself.
    ///
    /// # Errors
    /// [`Error::Record`] for a metric that appears twice, is not finite, lies outside its scale or has a direction or scale
    /// that its aggregate cannot have, for a success without a metric, for a percentage that does not follow from the
    /// counts, and for an accuracy matrix that is not one.
    pub fn check(&self) -> Result<()> {
        let wrong = |reason: String| Err(Error::Record { id: self.id.clone(), reason });
        let mut names = BTreeSet::new();
        for metric in &self.metrics {
            if !names.insert(&metric.name) {
                return wrong(format!("metric `{}` appears twice", metric.name));
            }
            if !metric.value.is_finite() {
                return wrong(format!("metric `{}` is `{}`", metric.name, metric.value));
            }
            let range = metric.aggregate.lowest()..=1.0;
            if metric.scale == Scale::Fraction && !range.contains(&metric.value) {
                return wrong(format!("metric `{}` is `{}`, not a fraction of 1", metric.name, metric.value));
            }
            if let Some(conflict) = metric.aggregate.conflict(metric.better, metric.scale) {
                return wrong(format!("metric `{}` contradicts itself: {conflict}", metric.name));
            }
        }
        if self.status == Status::Success && self.metrics.is_empty() {
            return wrong("it succeeded without a metric".into());
        }
        if let Some(Err(reason)) = self.sequence.as_ref().map(Sequence::check) {
            return wrong(reason);
        }
        let p = &self.parameters;
        if let (Some(trainable), Some(adapter), Some(base)) = (p.trainable, p.adapter_total, p.base_total) {
            let follows = Parameters::counted(trainable, adapter, base).trainable_percent;
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs().max(1.0);
            if !matches!((p.trainable_percent, follows), (None, None) | (Some(_), Some(_)))
                || p.trainable_percent.zip(follows).is_some_and(|(a, b)| !close(a, b))
            {
                return wrong(format!(
                    "trainable_percent is {:?}, but its counts give {follows:?}",
                    p.trainable_percent
                ));
            }
        }
        Ok(())
    }
}

/// The usual id of a run: when, what, on what, and which seed. Ids sort by time.
///
/// ```
/// let at = "2025-11-21T10:15:00.123Z".parse().unwrap();
/// assert_eq!(compare::run_id(at, "lori-d", "nlu", 0), "20251121T101500.123Z-lori-d-nlu-0");
/// ```
pub fn run_id(created_at: Timestamp, method: &str, task: &str, seed: u64) -> String {
    format!("{}-{method}-{task}-{seed}", created_at.strftime("%Y%m%dT%H%M%S%.3fZ"))
}
