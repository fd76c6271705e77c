//! The steps of a phase.

use std::time::{Duration, Instant};

use peft_core::{
    AdamW, AdamWConfig, Adaptable, AdaptedLinear, Attachment, Checkpoint, Continuation, Gradients, Length,
    Mode, Phase, Schedule, Seeds,
};
use tch::Tensor;

use super::standing::{self, Standing};
use super::{Between, Feed, Flow, Learner, Observer, PhaseReport, Settings, StepData, StepReport};
use crate::{Error, Result};

/// A run in progress.
pub(super) struct Run<'a> {
    settings: &'a Settings,
    config: AdamWConfig,
    phases: &'a [Phase],
    optimizer: AdamW,
    schedule: Schedule,
    schedule_start: u64,
    step: u64,
    dropout: Seeds,
    /// Of the phases so far.
    pub reports: Vec<PhaseReport>,
}

impl<'a> Run<'a> {
    /// Before its first step.
    pub fn new(config: AdamWConfig, phases: &'a [Phase], settings: &'a Settings) -> Result<Self> {
        Ok(Self {
            optimizer: AdamW::new(config.clone()),
            config,
            phases,
            schedule: schedule_from(0, phases, settings)?,
            schedule_start: 0,
            step: 0,
            dropout: settings.seeds.child("dropout"),
            settings,
            reports: Vec::new(),
        })
    }

    /// Where it stood when `checkpoint` was written; the phase it stands in has been entered.
    pub fn resume(
        &mut self,
        standing: Standing,
        checkpoint: &Checkpoint,
        attachment: &Attachment,
    ) -> Result<()> {
        let mut before = 0;
        for (index, phase) in standing.phases.iter().enumerate() {
            if index > 0 && self.phases[index].schedule == Continuation::Restart {
                self.schedule = schedule_from(index, self.phases, self.settings)?;
                self.schedule_start = before;
            }
            before += phase.steps;
        }
        self.step = standing.step;
        self.reports = standing.phases;
        standing::load_optimizer(checkpoint, &mut self.optimizer, attachment)
    }

    /// Starts anew what phase `index` starts anew.
    pub fn begin<P>(&mut self, index: usize, feed: &mut dyn Feed<P>) -> Result<()> {
        let phase = &self.phases[index];
        if index > 0 && phase.optimizer == Continuation::Restart {
            self.optimizer = AdamW::new(self.config.clone());
        }
        if index > 0 && phase.schedule == Continuation::Restart {
            self.schedule = schedule_from(index, self.phases, self.settings)?;
            self.schedule_start = self.step;
        }
        if index > 0 && phase.data == Continuation::Restart {
            feed.restart();
        }
        let lr = phase.lr.unwrap_or(self.config.lr);
        let name = phase.name.to_owned();
        self.reports.push(PhaseReport { name, steps: 0, time: Duration::ZERO, tokens: 0, samples: 0, lr });
        Ok(())
    }

    /// The steps that the phase begun last has left.
    pub fn phase<L: Learner>(
        &mut self,
        phase: &Phase,
        learner: &mut L,
        attachment: &mut Attachment,
        feed: &mut dyn Feed<L::Part>,
        observer: &mut dyn Observer<L>,
    ) -> Result<Flow> {
        let lr = phase.lr.unwrap_or(self.config.lr);
        self.optimizer.set_lr(lr);
        let report = self.reports.len() - 1;
        for phase_step in self.reports[report].steps..phase.steps {
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
            let report = &mut self.reports[report];
            report.steps += 1;
            report.tokens += data.tokens;
            report.samples += data.samples;
            report.time += started.elapsed();
            let flow = observer.step_done(step, learner, attachment)?;
            let between = Between {
                step: self.step,
                phases: &self.reports,
                data: feed.position(),
                optimizer: &self.optimizer,
            };
            observer.between_steps(&between, attachment, flow)?;
            if flow == Flow::Stop {
                return Ok(flow);
            }
        }
        Ok(Flow::Continue)
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
