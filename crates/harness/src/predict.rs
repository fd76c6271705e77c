//! What a run will take: a few steps of the very loop on the first one and two blocks of the model with random weights,
//! carried on to all of its blocks.

use std::time::Instant;

use models::ModelConfig;
use peft_core::{Attachment, Method, Seeds, StateDict, Targets, device};
use tasks::Encoded;
use tch::Device;

use crate::config::{Experiment, RunOptions};
use crate::feed::TaskFeed;
use crate::memory::{PeakMemory, anonymous_bytes};
use crate::run::settings;
use crate::session::{kind_of, storage_of};
use crate::solver::{self, Solver};
use crate::train::{Flow, Observer, StepReport, train};
use crate::{Error, Result};

/// What is expected of one run.
#[derive(Clone, Copy, Debug)]
pub struct Prediction {
    /// Seconds in optimizer steps.
    pub seconds: f64,
    /// Peak over the process before the model was loaded, in bytes; unknown where the system does not tell.
    pub bytes: Option<f64>,
}

/// What a prediction starts from.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// The model.
    pub config: &'a ModelConfig,
    /// Values of the whole model.
    pub parameters: u64,
    /// The training split.
    pub data: &'a Encoded,
    /// The padding token.
    pub pad: u32,
    /// Where it would run.
    pub device: Device,
}

/// Steps that are taken; the first only warms up.
const STEPS: u64 = 5;

impl Basis<'_> {
    /// Predicts `experiment`, without the runs that it needs.
    ///
    /// # Errors
    /// Whatever attaching or training refuse; if the targets lie beyond the second block.
    pub fn predict(&self, experiment: &Experiment, options: &RunOptions) -> Result<Prediction> {
        let one = self.sample(1, experiment, options)?;
        let two = self.sample(2, experiment, options)?;
        let further = (self.config.layers() - 1) as f64;
        let carry = |one: f64, two: f64| one + (two - one).max(0.0) * further;

        let training = &experiment.task.training;
        let sequences = self.data.sequences.len().max(1);
        let tokens: usize = self.data.sequences.iter().map(|sequence| sequence.tokens.len()).sum();
        let per_step = tokens as f64 / sequences as f64 * training.batch_size.min(sequences) as f64;
        let steps = training.total_steps(sequences.div_ceil(training.batch_size) as u64);
        let weights = self.parameters as f64 * kind_of(training.dtype).elt_size_in_bytes() as f64;
        Ok(Prediction {
            seconds: carry(one.per_token, two.per_token) * per_step * steps as f64,
            bytes: one.growth.zip(two.growth).map(|(one, two)| weights + carry(one, two)),
        })
    }

    fn sample(&self, blocks: usize, experiment: &Experiment, options: &RunOptions) -> Result<Sample> {
        let config = self.config.with_layers(blocks)?;
        let checkpointing = options.gradient_checkpointing;
        let mut learner = solver::random(&experiment.task, &config, self.device, checkpointing)?;
        device::release_freed_memory();
        let before = anonymous_bytes();
        let memory = PeakMemory::start();
        let mut watch = Watch::default();
        let method = self.method(experiment, options, &mut learner)?;
        self.steps(experiment, options, &mut learner, method, &mut watch)?;
        Ok(Sample {
            per_token: watch.fastest.unwrap_or_default(),
            growth: memory.over(before).map(|bytes| bytes as f64),
        })
    }

    /// The method, given what it needs: here the outcome of a few steps.
    fn method(
        &self,
        experiment: &Experiment,
        options: &RunOptions,
        learner: &mut Box<dyn Solver>,
    ) -> Result<Box<dyn Method>> {
        let mut method = (experiment.method.info.build)(experiment.method.settings.clone())?;
        if let Some(need) = method.needs() {
            let needed = (methods::find(need.method)?.build)(need.settings)?;
            method.provide(&self.steps(experiment, options, learner, needed, &mut Watch::default())?)?;
        }
        Ok(method)
    }

    /// A few steps of `method`, which leave the model as it was; returns the adapter.
    fn steps(
        &self,
        experiment: &Experiment,
        options: &RunOptions,
        learner: &mut Box<dyn Solver>,
        method: Box<dyn Method>,
        watch: &mut Watch,
    ) -> Result<StateDict> {
        let (training, optimizer) = (&experiment.task.training, &experiment.method.optimizer);
        let reduction = optimizer.reduction(training);
        let mut feed = TaskFeed::new(self.data, training, reduction, options, self.pad, 0);
        let settings = settings(experiment, STEPS, Seeds::new(0));
        let targets = Targets { modules_to_save: learner.fresh_modules(), ..experiment.targets() };
        let storage = storage_of(training.quantize);
        let mut attachment = Attachment::new(learner, "plan", method, &targets, storage, &Seeds::new(0))?;
        let trained = train(learner, &mut attachment, &mut feed, &settings, watch);
        let adapter = attachment.store().adapter_tensors().into_iter().map(|(n, t)| (n, t.copy())).collect();
        attachment.detach(learner);
        match trained {
            // Random weights may not bear the rate of trained ones; the time is the same.
            Ok(_) | Err(Error::NonFinite { .. }) => Ok(adapter),
            Err(error) => Err(error),
        }
    }
}

struct Sample {
    per_token: f64,
    growth: Option<f64>,
}

/// The fastest step, in seconds per token: what else the machine does only slows it down.
#[derive(Default)]
struct Watch {
    last: Option<Instant>,
    fastest: Option<f64>,
}

impl Observer<Box<dyn Solver>> for Watch {
    fn step_done(&mut self, report: StepReport, _: &mut Box<dyn Solver>, _: &Attachment) -> Result<Flow> {
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            let per_token = (now - last).as_secs_f64() / report.tokens.max(1) as f64;
            self.fastest = Some(self.fastest.map_or(per_token, |fastest| fastest.min(per_token)));
        }
        Ok(Flow::Continue)
    }
}
