//! What is done with a row's method besides training it on a task.

use serde::{Deserialize, Serialize};

/// How the score of a row comes about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Procedure {
    /// One training for each task, scored on it.
    #[default]
    Single,
    /// One training for each task; the adapters are merged, and the one that results is scored on every task.
    Merge(Merge),
    /// Training on the task `first`, then on the column's; the one adapter is scored on both.
    Continual {
        /// The task that is learned first.
        first: String,
    },
    /// A reward model is trained on preferences and scored by which answer it prefers.
    RewardModel,
    /// A policy is trained against a reward model.
    Policy,
}

/// How adapters are merged, in the words of the `merge` command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    /// `cat`, `linear`, `magnitude_prune`, `ties`, `dare_linear`, …
    pub how: String,
    /// The weight of each adapter.
    pub weight: f64,
    /// Share of the entries that pruning keeps, where there is pruning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub density: Option<f64>,
}
