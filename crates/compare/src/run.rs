//! A record together with the evidence behind its scores, and choosing among runs.

use std::collections::{BTreeMap, BTreeSet};

use crate::outcome::Outcome;
use crate::record::{RunRecord, Status};

/// One run as tables and tests see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What the run left behind.
    pub record: RunRecord,
    /// What its scores rest on.
    pub evidence: Evidence,
}

/// What the scores of a run rest on.
#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    /// Per-item outcomes: intervals and paired tests follow from them.
    Items(Vec<Outcome>),
    /// Only the metrics' values and item counts (imported results): Wilson intervals and unpaired tests of proportions.
    Counts,
}

impl Run {
    /// The per-item outcomes, where they are known.
    pub fn outcomes(&self) -> Option<&[Outcome]> {
        match &self.evidence {
            Evidence::Items(outcomes) => Some(outcomes),
            Evidence::Counts => None,
        }
    }
}

/// Runs fit for a table, and those that are not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// Successful runs, the newest of each place, oldest first.
    pub runs: Vec<Run>,
    /// What was left out and why.
    pub left_out: Vec<LeftOut>,
}

/// A run that no table shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The run.
    pub id: String,
    /// Why.
    pub reason: String,
}

/// Keeps the newest successful run of each suite, task, method, model and seed.
pub fn latest(runs: impl IntoIterator<Item = Run>) -> Selection {
    let mut runs: Vec<Run> = runs.into_iter().collect();
    runs.sort_by(|a, b| {
        let key = |run: &Run| (run.record.created_at, run.record.id.clone(), run.record.revision);
        key(a).cmp(&key(b))
    });
    let mut newest = BTreeMap::new();
    for (position, run) in runs.iter().enumerate() {
        if run.record.status == Status::Success {
            newest.insert(place(&run.record), position);
        }
    }
    let kept: BTreeSet<usize> = newest.values().copied().collect();
    let mut selection = Selection::default();
    for (position, run) in runs.into_iter().enumerate() {
        if kept.contains(&position) {
            selection.runs.push(run);
        } else {
            let reason = match run.record.status {
                Status::Success => "a newer run took its place".to_owned(),
                ref status => status.to_string(),
            };
            selection.left_out.push(LeftOut { id: run.record.id, reason });
        }
    }
    selection
}

fn place(record: &RunRecord) -> (Option<String>, String, String, String, u64) {
    let RunRecord { suite, task, method, model, seed, .. } = record;
    (suite.clone(), task.clone(), method.clone(), model.name.clone(), *seed)
}
