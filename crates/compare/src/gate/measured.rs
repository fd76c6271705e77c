//! What a check measures of a cell besides its scores.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::parts::Environment;
use crate::store::write_whole;

/// The measurements of all cells of a check: one side of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurements {
    /// Where they were made.
    pub environment: Environment,
    /// Cell by cell.
    pub cells: Vec<Measured>,
    /// Cells that could not be measured.
    pub failures: Vec<Failure>,
}

/// A cell that could not be measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The task.
    pub task: String,
    /// The method.
    pub method: String,
    /// Why not.
    pub reason: String,
}

/// A method on a task, trained for a few steps and looked at closely.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// The task.
    pub task: String,
    /// The method.
    pub method: String,
    /// Hash of the settings that decide the numbers below.
    pub settings: String,
    /// Hashes of the trained adapter, of two runs.
    pub adapters: [String; 2],
    /// Training losses of the first steps.
    pub losses: Vec<f64>,
    /// `√Σ‖W_eff − W‖²` over the adapted layers, at the end.
    pub update_norm: f64,
    /// Mean loss of validation items at the end, through the adapter as it is (not merged).
    pub evaluation_loss: f64,
    /// Values that train.
    pub trainable: u64,
    /// Size of the adapter's file.
    pub adapter_bytes: u64,
    /// What the steps made the machine do.
    pub work: Work,
    /// What a step takes.
    pub pace: Pace,
}

/// Deterministic counters of training steps, as libtorch counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// Steps counted together.
    pub steps: u64,
    /// Operations dispatched, by name.
    pub operations: BTreeMap<String, u64>,
    /// Floating-point operations of products.
    pub flops: u64,
    /// Bytes allocated.
    pub allocated_bytes: u64,
    /// The most of them held at once within a step.
    pub peak_bytes: u64,
}

/// Time of a training step over that of the frozen model's forward and backward pass, in turns in one process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pace {
    /// Median of the pairs' ratios.
    pub ratio: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Pairs.
    pub pairs: u64,
    /// Noise of one pair: half the distance between the quartiles of the ratios, relative to the median.
    pub noise: f64,
    /// Why the number means nothing, if it does.
    pub refused: Option<String>,
}

impl Measurements {
    /// Name of the file in a folder.
    pub const FILE: &str = "check.json";

    /// Reads those in `folder`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Json`].
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(Self::FILE);
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        serde_json::from_str(&text).map_err(|source| Error::Json {
            what: "set of measurements",
            origin: path.display().to_string(),
            source,
        })
    }

    /// Writes them to `folder`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, folder: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).expect("measurements are plain data");
        text.push('\n');
        write_whole(&folder.join(Self::FILE), text.as_bytes())
    }

    /// The cell of `method` on `task`.
    pub fn cell(&self, task: &str, method: &str) -> Option<&Measured> {
        self.cells.iter().find(|cell| (cell.task.as_str(), cell.method.as_str()) == (task, method))
    }
}

impl Work {
    /// Operations of all names.
    pub fn total_operations(&self) -> u64 {
        self.operations.values().sum()
    }
}
