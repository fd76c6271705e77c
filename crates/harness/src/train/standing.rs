//! Where a run stands between two steps, in a checkpoint.

use peft_core::{AdamW, Attachment, Checkpoint, Phase};
use serde::{Deserialize, Serialize};
use tasks::Position;

use super::PhaseReport;
use crate::Result;

/// Section of the run's place.
const STANDING: &str = "standing";
/// Section of the optimizer's moments and step counts.
const OPTIMIZER: &str = "optimizer";

/// Where a run stands. What is not here follows from it: the place in the schedule from the phases and their steps, the
/// dropout of a step from the seed and the step's number, the order of the data from the seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// Optimizer steps done, in all phases.
    pub step: u64,
    /// The phases so far; the run stands in the last one, after its `steps`.
    pub phases: Vec<PhaseReport>,
    /// Where the next step lies in the data.
    pub data: Option<Position>,
}

/// A run between two steps.
#[derive(Clone, Copy, Debug)]
pub struct Between<'a> {
    /// Optimizer steps done, in all phases.
    pub step: u64,
    /// The phases so far.
    pub phases: &'a [PhaseReport],
    /// Where the next step lies in the data, if the feed can be set there.
    pub data: Option<Position>,
    /// The optimizer.
    pub optimizer: &'a AdamW,
}

impl Between<'_> {
    /// Puts the run's place and its optimizer into `checkpoint`.
    pub fn save(&self, checkpoint: &mut Checkpoint) {
        let Self { step, phases, data, optimizer } = *self;
        checkpoint.put(STANDING, &Standing { step, phases: phases.to_vec(), data });
        checkpoint.put_tensors(OPTIMIZER, optimizer.state());
    }
}

impl Standing {
    /// The place of the run that wrote `checkpoint`.
    ///
    /// # Errors
    /// [`peft_core::Error::Format`] if it holds none.
    pub fn read(checkpoint: &Checkpoint) -> Result<Self> {
        Ok(checkpoint.value(STANDING)?)
    }

    /// Index of the phase it stands in, of those of `plan`.
    ///
    /// # Errors
    /// [`peft_core::Error::Format`] if the run had other phases.
    pub(super) fn phase(&self, plan: &[Phase], origin: &str) -> Result<usize> {
        let fits = |(report, phase): (&PhaseReport, &Phase)| {
            report.name == phase.name && report.steps <= phase.steps
        };
        let fit = self.phases.len() <= plan.len() && self.phases.iter().zip(plan).all(fits);
        match self.phases.len().checked_sub(1).filter(|_| fit) {
            Some(last) => Ok(last),
            None => Err(peft_core::Error::format(origin, "its phases are not those of this run").into()),
        }
    }
}

/// Moments and step counts of `optimizer`, for the tensors of `attachment`.
pub(super) fn load_optimizer(
    checkpoint: &Checkpoint,
    optimizer: &mut AdamW,
    attachment: &Attachment,
) -> Result<()> {
    let state = checkpoint.tensors(OPTIMIZER);
    Ok(optimizer.load_state(&state, attachment.store(), checkpoint.origin())?)
}
