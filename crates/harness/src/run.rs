//! One run: a method on a task with a seed, from attaching to the record.

use std::path::{Path, PathBuf};
use std::time::Instant;

use compare::{Evidence, Point, Run, RunRecord, Status};
use jiff::Timestamp;
use peft_core::{
    Adaptable, Attachment, Continuation, Method, Phase, Seeds, StateDict, Targets, device, tensor_file,
};
use tasks::{Encoded, Overlap, Select, Split, Task};

use crate::adapter::{Provenance, adapter_file};
use crate::config::{Experiment, RunOptions};
use crate::evaluate::{self, Examiner, Scored, merge_and_check};
use crate::feed::{Cut, TaskFeed, step_data};
use crate::memory::PeakMemory;
use crate::progress::{Display, Progress};
use crate::session::{Session, storage_of};
use crate::solver::Solver;
use crate::train::{Flow, Observer, Settings, StepReport, Trained, train};
use crate::{Result, interrupt, record};

/// What all runs on one task share.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Its items.
    pub task: Task,
    /// Its training split in tokens.
    pub train: Encoded,
    /// Its validation split in tokens.
    pub validation: Encoded,
    /// What occurs twice in its data.
    pub overlap: Overlap,
    /// What runs generated code, where scoring does.
    pub scored_by: Option<String>,
}

/// Where a run takes place.
pub struct Context<'a> {
    /// The base model.
    pub session: &'a mut Session<Box<dyn Solver>>,
    /// The data.
    pub prepared: &'a Prepared,
    /// Other tasks that the outcome is scored on.
    pub others: Vec<&'a Prepared>,
    /// The adapter to go on from, by the same method.
    pub start: Option<&'a StateDict>,
    /// What does not change results.
    pub options: &'a RunOptions,
    /// Memory, sampled.
    pub memory: &'a PeakMemory,
    /// How progress is shown.
    pub display: Display,
    /// Folder for the adapter.
    pub adapter_folder: &'a Path,
}

/// A run that is over.
#[derive(Debug)]
pub struct Finished {
    /// Record and outcomes.
    pub run: Run,
    /// The trained adapter's tensors.
    pub adapter: StateDict,
    /// Scores on the other tasks of the context; empty for a run that was there already.
    pub others: Vec<Scored>,
    /// Where the adapter's own file lies.
    pub folder: PathBuf,
}

/// The streams of a run: below the seed and the task, so that runs of different tasks draw different tensors.
pub fn seeds(seed: u64, task: &str) -> Seeds {
    Seeds::new(seed).child(task)
}

/// Trains and scores one cell. `needed` are the records of the runs whose output `method` was given.
///
/// # Errors
/// Whatever attaching, training or scoring refuse. The model carries nothing then.
pub fn run(
    context: &mut Context<'_>,
    experiment: &Experiment,
    method: Box<dyn Method>,
    seed: u64,
    needed: &[&RunRecord],
) -> Result<Finished> {
    let targets =
        Targets { modules_to_save: context.session.learner.fresh_modules(), ..experiment.targets() };
    let streams = seeds(seed, &experiment.task.name);
    device::release_freed_memory();
    context.memory.reset();
    let learner = &mut context.session.learner;
    let own = streams.child(experiment.method.info.name);
    let storage = storage_of(experiment.task.training.quantize);
    let mut attachment = Attachment::new(learner, "default", method, &targets, storage, &own)?;
    learner.store(storage);
    let result = run_attached(context, experiment, &mut attachment, &streams, seed, needed);
    context.session.learner.unmerge();
    attachment.detach(&mut context.session.learner);
    result
}

fn run_attached(
    context: &mut Context<'_>,
    experiment: &Experiment,
    attachment: &mut Attachment,
    streams: &Seeds,
    seed: u64,
    needed: &[&RunRecord],
) -> Result<Finished> {
    let (started, folder) = (Instant::now(), context.adapter_folder.to_owned());
    let info = experiment.method.info;
    let mut record = RunRecord::new(Timestamp::now(), info.name, &experiment.task.name, seed);
    record::describe(&mut record, experiment, context, attachment);
    if let Some(start) = context.start {
        attachment.store_mut().load_adapter(start, "the adapter of the task before")?;
        record.notes.push("started from the adapter of the task before".to_owned());
    }
    record.needs = needed.iter().map(|needed| needed.id.clone()).collect();

    let (trained, curves) = train_cell(context, experiment, attachment, streams)?;
    record.phases = record::phases(&trained);
    record.curves = curves;
    record.parameters = record::parameters(context.session, attachment);
    record.memory.peak_bytes = context.memory.over(context.session.memory_before);
    record.adapter_bytes = Some(save_adapter(context, experiment, attachment)?);
    let copies = attachment.store().adapter_tensors().into_iter().map(|(name, t)| (name, t.copy()));
    let adapter: StateDict = copies.collect();
    if trained.stopped {
        record.total = compare::Total::of(&record.phases, needed.iter().copied(), Some(seconds(started)));
        let run = Run { record, evidence: Evidence::Items(Vec::new()) };
        return Ok(Finished { run, adapter, others: Vec::new(), folder });
    }

    let scored = score_test(context, experiment, attachment, streams)?;
    let others = score_others(context, experiment, streams)?;
    record::score(&mut record, &scored)?;
    record.total = compare::Total::of(&record.phases, needed.iter().copied(), Some(seconds(started)));
    record.status = Status::Success;
    let run = Run { record, evidence: Evidence::Items(scored.outcomes) };
    Ok(Finished { run, adapter, others, folder })
}

/// Scores the model without any adapter.
///
/// # Errors
/// As scoring.
pub fn run_base(context: &mut Context<'_>, experiment: &Experiment, seed: u64) -> Result<Run> {
    let started = Instant::now();
    let mut record = RunRecord::new(Timestamp::now(), compare::BASE, &experiment.task.name, seed);
    record::describe_base(&mut record, experiment, context);
    context.session.learner.store(storage_of(experiment.task.training.quantize));
    let label = format!("{} · base · score", experiment.task.name);
    let streams = seeds(seed, &experiment.task.name);
    let scored = examiner(context, &streams).score(&*context.session.learner, Split::Test, &label)?;
    record::score(&mut record, &scored)?;
    record.total.wall_seconds = Some(seconds(started));
    record.status = Status::Success;
    Ok(Run { record, evidence: Evidence::Items(scored.outcomes) })
}

pub(crate) fn examiner<'a>(context: &'a Context<'_>, streams: &'a Seeds) -> Examiner<'a> {
    Examiner {
        task: &context.prepared.task,
        text: &context.session.text,
        batch_size: evaluate::BATCH_SIZE,
        permission: context.options.permission,
        seeds: streams,
        display: context.display,
    }
}

fn train_cell(
    context: &mut Context<'_>,
    experiment: &Experiment,
    attachment: &mut Attachment,
    streams: &Seeds,
) -> Result<(Trained, compare::Curves)> {
    let training = &experiment.task.training;
    let optimizer = &experiment.method.optimizer;
    let Session { learner, text, .. } = &mut *context.session;
    let mut feed = TaskFeed::new(
        &context.prepared.train,
        training,
        optimizer.reduction(training),
        context.options,
        text.tokenizer.pad(),
        streams.child("data").seed(),
    );
    let steps = training.total_steps(feed.steps_per_epoch());
    let settings = Settings {
        steps,
        optimizer: optimizer.adamw(training),
        schedule: optimizer.schedule(training),
        warmup: optimizer.warmup(training),
        seeds: streams.child("train"),
    };
    let name = format!("{} · {}", experiment.task.name, experiment.method.info.name);
    let mut watch = Watch {
        progress: context.display.start(&name, steps),
        every: training.eval_every.steps(steps),
        total: steps,
        examiner: Examiner {
            task: &context.prepared.task,
            text,
            batch_size: evaluate::BATCH_SIZE,
            permission: context.options.permission,
            seeds: streams,
            display: Display::Quiet,
        },
        validation: &context.prepared.validation,
        select: training.select,
        best: None,
        curves: compare::Curves::default(),
        restarts: 0,
        last_loss: f64::NAN,
    };
    let trained = train(learner, attachment, &mut feed, &settings, &mut watch)?;
    let Watch { progress, curves, best, last_loss, .. } = watch;
    if let Some((_, tensors)) = best {
        attachment.store_mut().load_adapter(&tensors, "the best validation score")?;
    }
    let primary = &experiment.task.scoring.metrics[0].name;
    let chosen = curves.validation.get(primary).and_then(|points| points.last()?.value);
    let score = chosen.map(|score| format!(" · validation {score:.3}")).unwrap_or_default();
    progress.finish(&format!("loss {last_loss:.4}{score}"));
    Ok((trained, curves))
}

/// Shows progress, keeps curves, scores the validation split now and then.
struct Watch<'a> {
    progress: Progress,
    every: u64,
    total: u64,
    examiner: Examiner<'a>,
    validation: &'a Encoded,
    select: Select,
    best: Option<(f64, StateDict)>,
    curves: compare::Curves,
    restarts: u64,
    last_loss: f64,
}

impl Observer<Box<dyn Solver>> for Watch<'_> {
    fn phase_begins(&mut self, _index: usize, phase: &Phase, _attachment: &mut Attachment) -> Result<()> {
        // What was best before the parameters were reset is not comparable.
        if phase.optimizer == Continuation::Restart {
            self.best = None;
            self.restarts += 1;
        }
        Ok(())
    }

    fn step_done(
        &mut self,
        report: StepReport,
        learner: &mut Box<dyn Solver>,
        attachment: &Attachment,
    ) -> Result<Flow> {
        let done = report.step + 1;
        self.last_loss = report.loss;
        self.curves.loss.push(Point::new(done, report.loss));
        self.curves.learning_rate.push(Point::new(done, report.lr));
        self.progress.step(report.tokens, &format!("loss {:.4}", report.loss));
        let due = self.every > 0 && (done.is_multiple_of(self.every) || done == self.total);
        if due && !self.validation.sequences.is_empty() {
            self.validate(done, &mut **learner, attachment)?;
        }
        Ok(if interrupt::asked() { Flow::Stop } else { Flow::Continue })
    }
}

impl Watch<'_> {
    fn validate(&mut self, done: u64, learner: &mut dyn Solver, attachment: &Attachment) -> Result<()> {
        learner.merge();
        let scored = self.examiner.score(learner, Split::Validation, "validation");
        let pad = self.examiner.text.tokenizer.pad();
        let loss = evaluate::mean_loss(learner, &self.validation.sequences, evaluate::BATCH_SIZE, pad);
        learner.unmerge();
        let scored = match scored {
            Err(crate::Error::Interrupted) => return Ok(()), // the step that follows stops the run
            other => other?,
        };
        for metric in &scored.metrics {
            if let Some(value) = value(&scored, metric)? {
                self.curves.validation.entry(metric.name.clone()).or_default().push(Point::new(done, value));
            }
        }
        self.curves.validation.entry("loss".to_owned()).or_default().push(Point::new(done, loss?));
        let primary = &scored.metrics[0];
        if let (Select::BestValidation, Some(value)) = (self.select, value(&scored, primary)?) {
            let value = if primary.better == compare::Better::Higher { value } else { -value };
            if self.best.as_ref().is_none_or(|(best, _)| value > *best) {
                let tensors = attachment.store().adapter_tensors();
                self.best = Some((value, tensors.into_iter().map(|(n, t)| (n, t.copy())).collect()));
            }
        }
        Ok(())
    }
}

pub(crate) fn value(scored: &Scored, metric: &compare::Metric) -> Result<Option<f64>> {
    Ok(metric.measure_on(compare::Split::Validation, &scored.outcomes)?.map(|measured| measured.value))
}

fn score_test(
    context: &mut Context<'_>,
    experiment: &Experiment,
    attachment: &Attachment,
    streams: &Seeds,
) -> Result<Scored> {
    context.session.learner.activate(&attachment.active());
    if let Some(sequence) = context.prepared.train.sequences.first() {
        let pad = context.session.text.tokenizer.pad();
        let step = step_data(&[sequence], Cut::none(1), experiment.task.training.reduction, pad);
        merge_and_check(&mut *context.session.learner, &step.parts[0])?;
    }
    let label = format!("{} · {} · score", experiment.task.name, experiment.method.info.name);
    let scored = examiner(context, streams).score(&*context.session.learner, Split::Test, &label);
    context.session.learner.unmerge();
    scored
}

/// The active adapter on the other tasks.
fn score_others(context: &mut Context<'_>, experiment: &Experiment, streams: &Seeds) -> Result<Vec<Scored>> {
    context.session.learner.merge();
    let scores = context.others.iter().map(|prepared| {
        let other = Examiner { task: &prepared.task, ..examiner(context, streams) };
        let label = format!("{} · {} · score", prepared.task.config().name, experiment.method.info.name);
        other.score(&*context.session.learner, Split::Test, &label)
    });
    let scores = scores.collect();
    context.session.learner.unmerge();
    scores
}

/// Writes the adapter as PEFT reads it, packed if that is smaller, and its masks. Returns the size of the first.
fn save_adapter(context: &mut Context<'_>, experiment: &Experiment, attachment: &Attachment) -> Result<u64> {
    let folder = context.adapter_folder;
    let provenance = Provenance {
        method: experiment.method.info,
        settings: &experiment.method.settings,
        base_model: &context.session.name,
        task_type: context.session.learner.task_type(),
        quantize: experiment.task.training.quantize,
    };
    let file = adapter_file(&mut context.session.learner, attachment, &provenance)?;
    file.write(folder)?;
    let (packed, mut metadata) = peft_core::packed::pack(attachment.store());
    if !metadata.is_empty() {
        metadata.extend(file.metadata.clone());
        tensor_file::write(&folder.join("adapter_packed.safetensors"), &packed, &metadata)?;
    }
    let masks: StateDict = attachment
        .store()
        .trainables()
        .filter_map(|(_, entry)| {
            let site =
                attachment.sites().iter().find(|site| entry.name.starts_with(&format!("{}.", site.name)))?;
            Some((format!("mask.{}", site.name), entry.mask()?.shallow_clone()))
        })
        .collect();
    if !masks.is_empty() {
        tensor_file::write(&folder.join("masks.safetensors"), &masks, &tensor_file::Metadata::new())?;
    }
    let path = folder.join("adapter_model.safetensors");
    Ok(std::fs::metadata(&path).map_err(|source| peft_core::Error::io(path, source))?.len())
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}
