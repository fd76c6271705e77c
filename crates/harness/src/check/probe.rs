//! A few steps of the very loop on the task's data: what they compute, and how much work that is.

use autograd::Counting;
use compare::gate::Work;
use peft_core::{Adaptable, Attachment, Method, Phase, StateDict};
use tch::{Kind, no_grad};

use crate::config::{CheckPlan, Experiment};
use crate::feed::TaskFeed;
use crate::run::{Context, attached, seeds, settings};
use crate::session::Session;
use crate::solver::Solver;
use crate::train::{Between, Flow, Observer, StepReport, train};
use crate::{Error, Result, evaluate, interrupt};

/// What was seen.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Hash of the trained adapter.
    pub adapter: String,
    /// Losses of the first steps.
    pub losses: Vec<f64>,
    /// `√Σ‖W_eff − W‖²` over the adapted layers.
    pub update_norm: f64,
    /// Mean loss of validation items, through the adapter as it is.
    pub evaluation_loss: f64,
    /// Values that train.
    pub trainable: u64,
    /// Counters over all steps.
    pub work: Work,
}

/// How many losses are kept. Later ones differ between processors: every step multiplies how far they are apart.
const LOSSES: usize = 20;
/// Rows of a pass over validation items.
const ROWS: usize = 64;

/// Trains `method` for the steps of the plan.
///
/// # Errors
/// Whatever training refuses.
pub fn probe(
    context: &mut Context<'_>,
    experiment: &Experiment,
    method: Box<dyn Method>,
    seed: u64,
    plan: &CheckPlan,
) -> Result<Probe> {
    let streams = seeds(seed, &experiment.task.name);
    attached(context, experiment, method, &streams, |context, attachment| {
        let (training, optimizer) = (&experiment.task.training, &experiment.method.optimizer);
        let Session { learner, text, .. } = &mut *context.session;
        let pad = text.tokenizer.pad();
        let mut feed = TaskFeed::new(
            &context.prepared.train,
            training,
            optimizer.reduction(training),
            context.options,
            pad,
            streams.child("data").seed(),
        );
        let settings = settings(experiment, plan.steps, streams.child("train"));
        let mut watch = Watch::default();
        let trained = train(learner, attachment, &mut feed, &settings, &mut watch);
        watch.counting = None;
        if trained?.stopped {
            return Err(Error::Interrupted);
        }
        learner.activate(&attachment.active());
        let validation = &context.prepared.validation.sequences;
        let validation = &validation[..plan.validation.min(validation.len())];
        watch.losses.truncate(LOSSES);
        Ok(Probe {
            adapter: hash(&attachment.store().adapter_tensors()),
            update_norm: update_norm(&mut **learner),
            evaluation_loss: evaluate::mean_loss(&**learner, validation, ROWS, pad)?,
            losses: watch.losses,
            trainable: attachment.store().count_trainable(),
            work: watch.work,
        })
    })
}

/// Keeps losses, and counts from the end of one step to that of the next, without what the observer does.
#[derive(Default)]
struct Watch {
    losses: Vec<f64>,
    work: Work,
    counting: Option<Counting>,
}

impl Observer<Box<dyn Solver>> for Watch {
    fn phase_begins(&mut self, _index: usize, _phase: &Phase, _attachment: &mut Attachment) -> Result<()> {
        self.counting.get_or_insert_with(Counting::start);
        Ok(())
    }

    fn step_done(&mut self, report: StepReport, _: &mut Box<dyn Solver>, _: &Attachment) -> Result<Flow> {
        let counted = self.counting.take().map(Counting::stop).unwrap_or_default();
        self.work.steps += 1;
        for (name, calls) in counted.operations {
            *self.work.operations.entry(name).or_default() += calls;
        }
        self.work.flops += counted.flops;
        self.work.allocated_bytes += counted.allocated_bytes;
        self.work.peak_bytes = self.work.peak_bytes.max(counted.peak_bytes);
        self.losses.push(report.loss);
        Ok(if interrupt::asked() { Flow::Stop } else { Flow::Continue })
    }

    fn between_steps(&mut self, _: &Between<'_>, _: &Attachment, _: Flow) -> Result<()> {
        self.counting = Some(Counting::start());
        Ok(())
    }
}

/// Of names, shapes and bits.
fn hash(tensors: &StateDict) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, tensor) in tensors {
        let tensor = tensor.to_device(tch::Device::Cpu).contiguous();
        let mut bytes = vec![0u8; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.view(-1).copy_data_u8(&mut bytes, tensor.numel());
        hasher.update(name.as_bytes()).update(format!("{:?}", tensor.size()).as_bytes()).update(&bytes);
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

fn update_norm(learner: &mut dyn Adaptable) -> f64 {
    let squares = learner.linears().into_iter().map(|linear| {
        let (effective, frozen) = (linear.effective_weight(), linear.frozen().dense());
        (effective.to_kind(Kind::Double) - frozen.to_kind(Kind::Double)).square().sum(None).double_value(&[])
    });
    no_grad(|| squares.sum::<f64>()).sqrt()
}
