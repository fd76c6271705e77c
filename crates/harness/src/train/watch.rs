//! What can be seen of a run while it goes on, and what it leaves.

use std::time::Duration;

use peft_core::{Attachment, Gradients, Phase};
use serde::{Deserialize, Serialize};

use super::{Between, Learner};
use crate::Result;

/// What the loop tells about a step.
#[derive(Clone, Copy, Debug)]
pub struct StepReport {
    /// 0-based, within the run.
    pub step: u64,
    /// 0-based, within the phase.
    pub phase_step: u64,
    /// The loss that was differentiated, before the update.
    pub loss: f64,
    /// L2 norm of all gradients together, after masking, before clipping.
    pub grad_norm: f64,
    /// Learning rate of roles without a rate of their own.
    pub lr: f64,
    /// Tokens of the step.
    pub tokens: u64,
    /// Sequences of the step.
    pub samples: u64,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// With the next step.
    Continue,
    /// Not at all.
    Stop,
}

/// Watches a run. Every method has a default that does nothing.
pub trait Observer<L: Learner> {
    /// Before anything starts: the phases the method asks for.
    fn adjust_phases(&mut self, _phases: &mut [Phase]) {}

    /// A phase is over.
    ///
    /// # Errors
    /// Ends the run.
    fn phase_ends(&mut self, _index: usize, _attachment: &Attachment) -> Result<()> {
        Ok(())
    }

    /// A phase begins; `attachment` holds what it starts from. Not called for the phase that a run resumes in.
    ///
    /// # Errors
    /// Ends the run.
    fn phase_begins(&mut self, _index: usize, _phase: &Phase, _attachment: &mut Attachment) -> Result<()> {
        Ok(())
    }

    /// A run goes on from a checkpoint; everything is as it was between two steps.
    ///
    /// # Errors
    /// Ends the run.
    fn resumed(&mut self, _learner: &mut L, _attachment: &Attachment) -> Result<()> {
        Ok(())
    }

    /// The gradients of a step, after masking and before clipping.
    ///
    /// # Errors
    /// Ends the run.
    fn gradients(
        &mut self,
        _report: StepReport,
        _gradients: &Gradients,
        _attachment: &Attachment,
    ) -> Result<()> {
        Ok(())
    }

    /// A step is done.
    ///
    /// # Errors
    /// Ends the run.
    fn step_done(&mut self, _report: StepReport, _learner: &mut L, _attachment: &Attachment) -> Result<Flow> {
        Ok(Flow::Continue)
    }

    /// After [`Self::step_done`], which said `flow`: the place to write a checkpoint.
    ///
    /// # Errors
    /// Ends the run.
    fn between_steps(&mut self, _between: &Between<'_>, _attachment: &Attachment, _flow: Flow) -> Result<()> {
        Ok(())
    }
}

/// What a phase took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseReport {
    /// Its name.
    pub name: String,
    /// Optimizer steps done.
    pub steps: u64,
    /// Time in steps, without what the observer did.
    pub time: Duration,
    /// Tokens.
    pub tokens: u64,
    /// Sequences.
    pub samples: u64,
    /// Base learning rate.
    pub lr: f64,
}

/// What the loop leaves.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Phase by phase, with what was done before the run was resumed.
    pub phases: Vec<PhaseReport>,
    /// Whether the observer stopped it.
    pub stopped: bool,
}
