//! The one training loop. It knows no method and no model.

use std::time::{Duration, Instant};

use peft_core::{
    AdamW, AdamWConfig, Adaptable, AdaptedLinear, Attachment, Continuation, Gradients, Length, Mode, Phase,
    Schedule, ScheduleKind, Seeds,
};
use tch::Tensor;

use crate::{Error, Result};

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

    /// A phase begins; `attachment` holds what it starts from.
    ///
    /// # Errors
    /// Ends the run.
    fn phase_begins(&mut self, _index: usize, _phase: &Phase, _attachment: &mut Attachment) -> Result<()> {
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
}

/// What a phase took.
#[derive(Clone, Debug)]
pub struct PhaseReport {
    /// Its name.
    pub name: &'static str,
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
    /// Phase by phase.
    pub phases: Vec<PhaseReport>,
    /// Whether the observer stopped it.
    pub stopped: bool,
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
    let mut config = settings.optimizer.clone();
    attachment.configure_optimizer(&mut config);
    let mut phases = attachment.phases(settings.steps)?;
    observer.adjust_phases(&mut phases);
    let frozen = frozen_versions(learner);
    let mut run = Run {
        optimizer: AdamW::new(config.clone()),
        schedule: schedule_from(0, &phases, settings)?,
        schedule_start: 0,
        step: 0,
        dropout: settings.seeds.child("dropout"),
    };
    let mut trained = Trained { phases: Vec::new(), stopped: false };
    learner.activate(&attachment.active());
    for (index, phase) in phases.iter().enumerate() {
        attachment.enter_phase(learner, index, &phase.trains, false)?;
        observer.phase_begins(index, phase, attachment)?;
        let nothing =
            attachment.store().training().next().is_none() || attachment.store().count_trainable() == 0;
        if phase.updates && nothing {
            return Err(Error::NothingTrains { phase: phase.name });
        }
        if index > 0 && phase.optimizer == Continuation::Restart {
            run.optimizer = AdamW::new(config.clone());
        }
        if index > 0 && phase.schedule == Continuation::Restart {
            run.schedule = schedule_from(index, &phases, settings)?;
            run.schedule_start = run.step;
        }
        if index > 0 && phase.data == Continuation::Restart {
            feed.restart();
        }
        run.optimizer.set_lr(phase.lr.unwrap_or(config.lr));
        let (report, flow) = run.phase(phase, learner, attachment, feed, observer)?;
        trained.phases.push(report);
        observer.phase_ends(index, attachment)?;
        if flow == Flow::Stop {
            trained.stopped = true;
            break;
        }
    }
    if frozen_versions(learner) != frozen {
        return Err(Error::FrozenMoved);
    }
    Ok(trained)
}

/// The schedule that starts at phase `index`: over it and the phases that carry it on.
fn schedule_from(index: usize, phases: &[Phase], settings: &Settings) -> Result<Schedule> {
    let carried = phases[index + 1..].iter().take_while(|phase| phase.schedule == Continuation::Carry);
    let total_steps = phases[index].steps + carried.map(|phase| phase.steps).sum::<u64>();
    // A run cut short is all warm-up.
    let warmup = match settings.warmup {
        Length::Steps(steps) => Length::Steps(steps.min(total_steps)),
        fraction @ Length::Fraction(_) => fraction,
    };
    let warmup_steps = warmup.steps(total_steps, "warmup")?;
    Ok(Schedule { kind: settings.schedule, warmup_steps, total_steps })
}

/// Counters that libtorch raises with every in-place change.
fn frozen_versions(learner: &mut impl Adaptable) -> Vec<i64> {
    let dense = |linear: &&mut AdaptedLinear| linear.frozen().as_dense().map(Tensor::internal_version);
    learner.linears().iter().filter_map(dense).collect()
}

struct Run {
    optimizer: AdamW,
    schedule: Schedule,
    schedule_start: u64,
    step: u64,
    dropout: Seeds,
}

impl Run {
    fn phase<L: Learner>(
        &mut self,
        phase: &Phase,
        learner: &mut L,
        attachment: &mut Attachment,
        feed: &mut dyn Feed<L::Part>,
        observer: &mut dyn Observer<L>,
    ) -> Result<(PhaseReport, Flow)> {
        let lr = self.optimizer.config().lr;
        let mut report =
            PhaseReport { name: phase.name, steps: 0, time: Duration::ZERO, tokens: 0, samples: 0, lr };
        for phase_step in 0..phase.steps {
            let started = Instant::now();
            let data = feed.next_step()?;
            let (loss, mut gradients) = self.backward(phase, learner, attachment, &data)?;
            if !loss.is_finite() {
                return Err(Error::NonFinite { loss, step: self.step, phase: phase.name });
            }
            gradients.apply_masks(attachment.store());
            let factor = self.schedule.factor(self.step - self.schedule_start);
            let mut step = StepReport {
                step: self.step,
                phase_step,
                loss,
                grad_norm: 0.0,
                lr: lr * factor,
                tokens: data.tokens,
                samples: data.samples,
            };
            observer.gradients(step, &gradients, attachment)?;
            if phase.updates {
                step.grad_norm = attachment.step(&mut self.optimizer, &gradients, factor).grad_norm;
                if phase_step == 0 && step.grad_norm == 0.0 {
                    return Err(Error::NoGradient { phase: phase.name });
                }
            }
            attachment.after_step(self.step, phase_step, &gradients)?;
            self.step += 1;
            report.steps += 1;
            report.tokens += data.tokens;
            report.samples += data.samples;
            report.time += started.elapsed();
            if observer.step_done(step, learner, attachment)? == Flow::Stop {
                return Ok((report, Flow::Stop));
            }
        }
        Ok((report, Flow::Continue))
    }

    /// The loss of the step and its gradients, summed over the parts.
    fn backward<L: Learner>(
        &self,
        phase: &Phase,
        learner: &mut L,
        attachment: &mut Attachment,
        data: &StepData<L::Part>,
    ) -> Result<(f64, Gradients)> {
        let (mut total, mut gradients) = (0.0, Gradients::default());
        let seeds = self.dropout.nth(self.step);
        for (index, part) in data.parts.iter().enumerate() {
            if phase.weight_grads {
                probe(learner, attachment, AdaptedLinear::start_probe);
            }
            let probes = probes(learner);
            let training = attachment.store().training().map(|(_, entry)| entry.tensor.shallow_clone());
            learner.trains(training.chain(probes.iter().map(Tensor::shallow_clone)).collect());
            let mode = Mode::Train { seed: seeds.nth(index as u64).seed() };
            let mut loss = learner.loss(part, mode)?;
            if index == 0
                && let Some(extra) = attachment.regularizer()
            {
                loss += extra;
            }
            let of_weights =
                gradients.accumulate(&loss, attachment.store(), &probes.iter().collect::<Vec<_>>())?;
            probe(learner, attachment, AdaptedLinear::end_probe);
            for (site, gradient) in of_weights.iter().enumerate() {
                attachment.observe_weight_grad(site, gradient, 1.0 / data.parts.len() as f64)?;
            }
            total += loss.double_value(&[]);
        }
        Ok((total, gradients))
    }
}

fn probe(learner: &mut impl Adaptable, attachment: &Attachment, change: fn(&mut AdaptedLinear)) {
    let mut sites = attachment.sites().iter().peekable();
    for linear in learner.linears() {
        if sites.next_if(|site| site.name == linear.name()).is_some() {
            change(linear);
        }
    }
}

fn probes(learner: &mut impl Adaptable) -> Vec<Tensor> {
    learner.linears().iter().filter_map(|linear| linear.probe().map(Tensor::shallow_clone)).collect()
}
