//! The parts of a record.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::record::RunRecord;

/// The model that was adapted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// As the user named it.
    pub name: String,
    /// Hash of its weights.
    pub fingerprint: Option<String>,
}

/// Where a run took place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Version of this project, or of whatever made an imported record.
    pub version: String,
    /// Version of libtorch.
    pub libtorch: Option<String>,
    /// Device that computed, with its name.
    pub device: Option<String>,
    /// Threads used by one operation.
    pub threads: Option<u32>,
    /// Operating system.
    pub os: Option<String>,
    /// Processor.
    pub cpu: Option<String>,
    /// State of the source tree.
    pub git: Option<Git>,
}

/// State of a source tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Git {
    /// The commit; unknown for a tree that only has a branch name to show.
    pub commit: Option<String>,
    /// The branch.
    pub branch: Option<String>,
    /// Whether files differed from it.
    pub dirty: Option<bool>,
}

/// One split of the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSplit {
    /// Hash of the content.
    pub hash: String,
    /// Number of items.
    pub items: Option<u64>,
}

/// A file that items were read from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFile {
    /// The repository of the hub that it is from, as `OWNER/NAME@COMMIT`; `None` for one of a folder.
    pub repo: Option<String>,
    /// Its path in the repository, or below the data folder.
    pub path: String,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

/// Numbers of values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Values that trained.
    pub trainable: Option<u64>,
    /// All values of the adapter, frozen ones included.
    pub adapter_total: Option<u64>,
    /// Values of the base model.
    pub base_total: Option<u64>,
    /// `100 · trainable / (base + all adapter values)`, as PEFT counts.
    pub trainable_percent: Option<f64>,
}

impl Parameters {
    /// Counts with the percentage that follows from them.
    ///
    /// ```
    /// let p = compare::Parameters::counted(2, 10, 90);
    /// assert_eq!(p.trainable_percent, Some(2.0));
    /// ```
    pub fn counted(trainable: u64, adapter_total: u64, base_total: u64) -> Self {
        let all = base_total + adapter_total;
        Self {
            trainable: Some(trainable),
            adapter_total: Some(adapter_total),
            base_total: Some(base_total),
            trainable_percent: (all > 0).then(|| 100.0 * trainable as f64 / all as f64),
        }
    }
}

/// One stretch of training with one set of rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseRecord {
    /// The method's name for it.
    pub name: String,
    /// Optimizer steps.
    pub steps: u64,
    /// Time in steps, without evaluation.
    pub seconds: Option<f64>,
    /// Tokens processed.
    pub tokens: Option<u64>,
    /// Sequences processed.
    pub samples: Option<u64>,
    /// Peak learning rate.
    pub lr: Option<f64>,
    /// Peak memory, as [`Memory::peak_bytes`].
    pub peak_bytes: Option<u64>,
}

/// Cost of a run together with the runs it needed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Total {
    /// Optimizer steps of all phases.
    pub steps: Option<u64>,
    /// Seconds of all phases; what tables call training time.
    pub train_seconds: Option<f64>,
    /// Seconds of this run's whole process, with loading and evaluation.
    pub wall_seconds: Option<f64>,
}

impl Total {
    /// Sums this run's phases and those of every run it took input from, each once.
    ///
    /// `needed` is every such run, those needed by a needed one included. One unknown part makes the sum unknown.
    pub fn of<'a>(
        phases: &[PhaseRecord],
        needed: impl IntoIterator<Item = &'a RunRecord>,
        wall_seconds: Option<f64>,
    ) -> Self {
        let mut seen = BTreeSet::new();
        let all: Vec<&PhaseRecord> = needed
            .into_iter()
            .filter(|run| seen.insert(&run.id))
            .flat_map(|run| &run.phases)
            .chain(phases)
            .collect();
        Self {
            steps: Some(all.iter().map(|p| p.steps).sum()),
            // The empty sum of floats is −0.
            train_seconds: all.iter().map(|p| p.seconds).sum::<Option<f64>>().map(|seconds| seconds + 0.0),
            wall_seconds,
        }
    }
}

/// Memory of a run over its value before the model was loaded: anonymous resident memory on CPU, the allocator's on CUDA.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Highest value.
    pub peak_bytes: Option<u64>,
    /// Mean over the steps.
    pub mean_bytes: Option<u64>,
    /// 99th percentile over the steps.
    pub p99_bytes: Option<u64>,
}

/// What changed while training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curves {
    /// Training loss.
    pub loss: Vec<Point>,
    /// Learning rate.
    pub learning_rate: Vec<Point>,
    /// Validation metrics (and `loss`), by name.
    pub validation: BTreeMap<String, Vec<Point>>,
}

/// One point of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Optimizer steps done.
    pub step: u64,
    /// The value; `None` where it was not finite.
    pub value: Option<f64>,
}

impl Point {
    /// A point; a value that is not finite becomes `None`, as JSON has no way to write it.
    pub fn new(step: u64, value: f64) -> Self {
        Self { step, value: value.is_finite().then_some(value) }
    }
}
