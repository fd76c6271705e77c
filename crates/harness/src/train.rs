//! The one training loop. It knows no method and no model.

mod standing;
mod steps;
mod watch;

use peft_core::{
    AdamWConfig, Adaptable, AdaptedLinear, Attachment, Checkpoint, Length, Mode, ScheduleKind, Seeds,
};
use tasks::Position;
use tch::Tensor;

pub use standing::{Between, Standing};
pub use watch::{Flow, Observer, PhaseReport, StepReport, Trained};

use crate::{Error, Result};
use steps::Run;

/// What is trained: a model and how its loss is computed from a part of a step's data.
pub trait Learner: Adaptable {
    /// A part of a step, small enough for one pass.
    type Part;

    /// The part's share of the loss of the step: the shares of all parts add up to it.
    ///
    /// # Errors
    /// If the part does not fit the model.
    fn loss(&self, part: &Self::Part, mode: Mode) -> Result<Tensor>;

    /// What requires gradients from here on, for learners that recompute activations.
    fn trains(&mut self, _tensors: Vec<Tensor>) {}
}

/// The data of one optimizer step.
#[derive(Debug)]
pub struct StepData<P> {
    /// Its parts.
    pub parts: Vec<P>,
    /// Tokens, padding apart.
    pub tokens: u64,
    /// Sequences.
    pub samples: u64,
}

/// Where steps come from.
pub trait Feed<P> {
    /// The data of the next step.
    ///
    /// # Errors
    /// If there is none.
    fn next_step(&mut self) -> Result<StepData<P>>;

    /// Starts from the beginning.
    fn restart(&mut self);

    /// Where the next step lies, for feeds that can be set there; without it a run cannot be resumed.
    fn position(&self) -> Option<Position> {
        None
    }

    /// Goes on from `position`.
    fn seek(&mut self, position: Position) {
        panic!("this feed has no positions, and cannot be set to {position:?}")
    }
}

/// What a run fixes besides model, method and data.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Optimizer steps of all phases.
    pub steps: u64,
    /// The optimizer, before the method adjusts it.
    pub optimizer: AdamWConfig,
    /// Course of the learning rate.
    pub schedule: ScheduleKind,
    /// Its warm-up.
    pub warmup: Length,
    /// Streams of the run.
    pub seeds: Seeds,
}

/// Trains `attachment` on `learner` through all phases of its method.
///
/// # Errors
/// [`Error::NonFinite`], [`Error::NoGradient`], [`Error::NothingTrains`], [`Error::FrozenMoved`], or whatever the
/// method, the feed or the observer refuse.
pub fn train<L: Learner>(
    learner: &mut L,
    attachment: &mut Attachment,
    feed: &mut dyn Feed<L::Part>,
    settings: &Settings,
    observer: &mut dyn Observer<L>,
) -> Result<Trained> {
    train_from(None, learner, attachment, feed, settings, observer)
}

/// The same from where a run stood when `checkpoint` was written: with `attachment` made anew, `feed` at its beginning and
/// the settings of that run, the rest has the bits it would have had.
///
/// # Errors
/// As [`train`], and for a checkpoint that does not fit.
pub fn train_from<L: Learner>(
    checkpoint: Option<&Checkpoint>,
    learner: &mut L,
    attachment: &mut Attachment,
    feed: &mut dyn Feed<L::Part>,
    settings: &Settings,
    observer: &mut dyn Observer<L>,
) -> Result<Trained> {
    if let Some(checkpoint) = checkpoint {
        attachment.load_training_state(checkpoint)?;
    }
    let mut config = settings.optimizer.clone();
    attachment.configure_optimizer(&mut config);
    let mut phases = attachment.phases(settings.steps)?;
    observer.adjust_phases(&mut phases);
    let frozen = frozen_versions(learner);
    let mut run = Run::new(config, &phases, settings)?;
    let mut standing = None;
    if let Some(checkpoint) = checkpoint {
        let place = Standing::read(checkpoint)?;
        place.data.into_iter().for_each(|position| feed.seek(position));
        standing = Some((place.phase(&phases, checkpoint.origin())?, place, checkpoint));
    }
    learner.activate(&attachment.active());
    let first = standing.as_ref().map_or(0, |(index, ..)| *index);
    let mut stopped = false;
    for (index, phase) in phases.iter().enumerate().skip(first) {
        attachment.enter_phase(learner, index, &phase.trains, standing.is_some())?;
        match standing.take() {
            Some((_, place, checkpoint)) => {
                run.resume(place, checkpoint, attachment)?;
                observer.resumed(learner, attachment)?;
            }
            None => {
                observer.phase_begins(index, phase, attachment)?;
                run.begin(index, feed)?;
            }
        }
        let nothing =
            attachment.store().training().next().is_none() || attachment.store().count_trainable() == 0;
        if phase.updates && nothing {
            return Err(Error::NothingTrains { phase: phase.name });
        }
        let flow = run.phase(phase, learner, attachment, feed, observer)?;
        observer.phase_ends(index, attachment)?;
        if flow == Flow::Stop {
            stopped = true;
            break;
        }
    }
    if frozen_versions(learner) != frozen {
        return Err(Error::FrozenMoved);
    }
    Ok(Trained { phases: run.reports, stopped })
}

/// Counters that libtorch raises with every in-place change.
fn frozen_versions(learner: &mut impl Adaptable) -> Vec<i64> {
    let dense = |linear: &&mut AdaptedLinear| linear.frozen().as_dense().map(Tensor::internal_version);
    learner.linears().iter().filter_map(dense).collect()
}
