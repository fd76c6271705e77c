//! Time of a training step over that of the frozen floor: the very loop on the same rows again and again, with a pass over the
//! frozen model after each step.

use std::time::{Duration, Instant};

use compare::gate::Pace;
use peft_core::{Active, Adaptable, Attachment, Method, Mode, Phase};
use tasks::{Reduction, Sequence};

use crate::claims::Estimate;
use crate::config::{CheckPlan, Experiment};
use crate::feed::{Cut, step_data};
use crate::part::Part;
use crate::run::{Context, attached, seeds, settings};
use crate::session::Session;
use crate::solver::Solver;
use crate::train::{Between, Feed, Flow, Observer, StepData, StepReport, train};
use crate::{Error, Result, interrupt};

/// Pairs before the first that counts.
const WARM_UP: u64 = 5;

/// Times `method` in its last phase, which gets as many steps more as there are pairs.
///
/// # Errors
/// Whatever training refuses.
pub fn pace(
    context: &mut Context<'_>,
    experiment: &Experiment,
    method: Box<dyn Method>,
    seed: u64,
    plan: &CheckPlan,
) -> Result<Pace> {
    let streams = seeds(seed, &experiment.task.name);
    attached(context, experiment, method, &streams, |context, attachment| {
        let training = &experiment.task.training;
        let Session { learner, text, .. } = &mut *context.session;
        let mut feed = SameRows {
            rows: context.prepared.train.sequences.iter().take(plan.pace.sequences).collect(),
            reduction: experiment.method.optimizer.reduction(training),
            pad: text.tokenizer.pad(),
        };
        let mut watch = Watch::new(feed.next_step()?.parts, plan.pace.pairs);
        let settings = settings(experiment, plan.steps, streams.child("train"));
        if train(learner, attachment, &mut feed, &settings, &mut watch)?.stopped {
            return Err(Error::Interrupted);
        }
        Ok(watch.pace())
    })
}

/// The same step for ever.
struct SameRows<'a> {
    rows: Vec<&'a Sequence>,
    reduction: Reduction,
    pad: u32,
}

impl Feed<Part> for SameRows<'_> {
    fn next_step(&mut self) -> Result<StepData<Part>> {
        Ok(step_data(&self.rows, Cut::none(self.rows.len()), self.reduction, self.pad))
    }

    fn restart(&mut self) {}
}

/// Takes the time of each step, and of a floor after it.
struct Watch {
    parts: Vec<Part>,
    pairs: u64,
    /// Index of the phase that is timed.
    last: usize,
    /// Pairs before the first that counts; `None` in other phases.
    skip: Option<u64>,
    started: Option<Instant>,
    ratios: Vec<f64>,
    losses: Vec<f64>,
    least_gradient: f64,
    no_floor: bool,
}

impl Observer<Box<dyn Solver>> for Watch {
    fn adjust_phases(&mut self, phases: &mut [Phase]) {
        self.last = phases.len() - 1;
        // The first step of a phase has no step before it.
        phases[self.last].steps += 1 + WARM_UP + self.pairs;
    }

    fn phase_begins(&mut self, index: usize, _: &Phase, _: &mut Attachment) -> Result<()> {
        self.started = None;
        self.skip = (index == self.last).then_some(WARM_UP);
        Ok(())
    }

    fn step_done(
        &mut self,
        report: StepReport,
        learner: &mut Box<dyn Solver>,
        attachment: &Attachment,
    ) -> Result<Flow> {
        let taken = self.started.take().map(|started| started.elapsed());
        self.losses.push(report.loss);
        if let (Some(taken), Some(skip)) = (taken, self.skip) {
            match self.floor(learner, attachment, report.step)? {
                None => self.no_floor = true,
                Some(_) if skip > 0 => self.skip = Some(skip - 1),
                Some(floor) => {
                    self.ratios.push(taken.as_secs_f64() / floor.as_secs_f64());
                    self.least_gradient = self.least_gradient.min(report.grad_norm);
                }
            }
        }
        Ok(if interrupt::asked() { Flow::Stop } else { Flow::Continue })
    }

    fn between_steps(&mut self, _: &Between<'_>, _: &Attachment, _: Flow) -> Result<()> {
        self.started = Some(Instant::now());
        Ok(())
    }
}

impl Watch {
    fn new(parts: Vec<Part>, pairs: u64) -> Self {
        Self {
            parts,
            pairs,
            last: 0,
            skip: None,
            started: None,
            ratios: Vec::new(),
            losses: Vec::new(),
            least_gradient: f64::INFINITY,
            no_floor: false,
        }
    }

    /// Time of the floor; `None` for a model that has none.
    fn floor(
        &self,
        learner: &mut Box<dyn Solver>,
        attachment: &Attachment,
        step: u64,
    ) -> Result<Option<Duration>> {
        if learner.as_causal_lm().is_none() {
            return Ok(None);
        }
        learner.activate(&Active::None);
        let started = Instant::now();
        let model = learner.as_causal_lm().expect("it was one just now");
        for part in &self.parts {
            model.floor(part, Mode::Train { seed: step })?;
        }
        let taken = started.elapsed();
        learner.activate(&attachment.active());
        Ok(Some(taken))
    }

    fn pace(mut self) -> Pace {
        let refused = self.refusal();
        if self.ratios.is_empty() {
            return Pace { refused, ..Pace::default() };
        }
        let Estimate { value, low, high, .. } = Estimate::of_median("", &self.ratios);
        self.ratios.sort_by(f64::total_cmp);
        let quartile = |share: f64| self.ratios[(share * (self.ratios.len() - 1) as f64).round() as usize];
        let noise = (quartile(0.75) - quartile(0.25)) / 2.0 / value;
        Pace { ratio: value, low, high, pairs: self.ratios.len() as u64, noise, refused }
    }

    /// Why the time of these steps says nothing: they did not learn.
    fn refusal(&self) -> Option<String> {
        const ENDS: usize = 5;
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let ends = ENDS.min(self.losses.len());
        let (first, last) = (mean(&self.losses[..ends]), mean(&self.losses[self.losses.len() - ends..]));
        if self.no_floor {
            Some("a floor is only known of decoders".to_owned())
        } else if self.least_gradient == 0.0 {
            Some("the gradients of a timed step are zero".to_owned())
        } else if last >= first || last.is_nan() {
            Some(format!("the loss did not fall: {first:.4} at first, {last:.4} at last, on the same rows"))
        } else {
            None
        }
    }
}
