//! One run: a method on a task with a seed, from attaching to the record.

mod watch;

use std::path::{Path, PathBuf};
use std::time::Instant;

use compare::{Evidence, Run, RunRecord, Status};
use jiff::Timestamp;
use peft_core::{Adaptable, Attachment, Method, Seeds, StateDict, Targets, device, tensor_file};
use tasks::{Encoded, Overlap, Split, Task};

use crate::adapter::{Provenance, adapter_file};
use crate::board::{Board, Clock};
use crate::checkpoint::{Every, Identity, Keeper};
use crate::config::{Experiment, RunOptions};
use crate::evaluate::{self, Examiner, Scored, merge_and_check};
use crate::feed::{Cut, TaskFeed, step_data};
use crate::memory::PeakMemory;
use crate::progress::Display;
use crate::session::{Session, storage_of};
use crate::solver::Solver;
use crate::train::{Settings, Trained, train_from};
use crate::{Result, record};
use watch::{SoFar, Watch};

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
    /// Folder for checkpoints, where the run may have some.
    pub checkpoint_folder: Option<PathBuf>,
    /// Folder for TensorBoard's event file, where one is asked for.
    pub board_folder: Option<PathBuf>,
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
    let streams = seeds(seed, &experiment.task.name);
    attached(context, experiment, method, &streams, |context, attachment| {
        run_attached(context, experiment, attachment, &streams, seed, needed)
    })
}

/// What `work` makes of the model of the context while it carries `method`, which draws from `streams`.
///
/// # Errors
/// Whatever attaching or `work` refuse. The model carries nothing then.
pub(crate) fn attached<T>(
    context: &mut Context<'_>,
    experiment: &Experiment,
    method: Box<dyn Method>,
    streams: &Seeds,
    work: impl FnOnce(&mut Context<'_>, &mut Attachment) -> Result<T>,
) -> Result<T> {
    let targets =
        Targets { modules_to_save: context.session.learner.fresh_modules(), ..experiment.targets() };
    device::release_freed_memory();
    context.memory.reset();
    let learner = &mut context.session.learner;
    let own = streams.child(experiment.method.info.name);
    let storage = storage_of(experiment.task.training.quantize);
    let mut attachment = Attachment::new(learner, "default", method, &targets, storage, &own)?;
    learner.store(storage);
    let result = work(context, &mut attachment);
    context.session.learner.unmerge();
    attachment.detach(&mut context.session.learner);
    result
}

/// What the loop is told of a run of `steps`.
pub(crate) fn settings(experiment: &Experiment, steps: u64, seeds: Seeds) -> Settings {
    let (training, optimizer) = (&experiment.task.training, &experiment.method.optimizer);
    Settings {
        steps,
        optimizer: optimizer.adamw(training),
        schedule: optimizer.schedule(training),
        warmup: optimizer.warmup(training),
        seeds,
    }
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

    let keeper = keeper(context, experiment, attachment, seed);
    let (trained, so_far) = train_cell(context, experiment, attachment, streams, keeper)?;
    let seconds = |started: Instant| so_far.earlier_seconds + seconds(started);
    record.phases = record::phases(&trained);
    record.curves = so_far.curves;
    record.notes.extend(so_far.notes);
    record.parameters = record::parameters(context.session, attachment);
    let peak = context.memory.over(context.session.memory_before);
    record.memory.peak_bytes = peak.max(so_far.earlier_peak);
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

/// What keeps the checkpoints of the run that is about to begin.
fn keeper(
    context: &Context<'_>,
    experiment: &Experiment,
    attachment: &Attachment,
    seed: u64,
) -> Option<Keeper> {
    let keeping = context.options.checkpoints;
    let folder = context.checkpoint_folder.as_ref().filter(|_| keeping.every != Every::Never)?;
    let (model, prepared) = (&context.session.fingerprint, context.prepared);
    Some(Keeper::new(folder, keeping, Identity::new(experiment, seed, model, prepared, attachment)))
}

fn train_cell(
    context: &mut Context<'_>,
    experiment: &Experiment,
    attachment: &mut Attachment,
    streams: &Seeds,
    keeper: Option<Keeper>,
) -> Result<(Trained, SoFar)> {
    let training = &experiment.task.training;
    let optimizer = &experiment.method.optimizer;
    let memory = (context.memory, context.session.memory_before);
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
    let settings = settings(experiment, steps, streams.child("train"));
    let name = format!("{} · {}", experiment.task.name, experiment.method.info.name);
    let (checkpoint, so_far) = SoFar::resume(keeper.as_ref(), &name, context.display)?;
    let mut progress = context.display.start(&name, steps);
    progress.skip(so_far.earlier_steps);
    let mut watch = Watch {
        progress,
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
        board: context.board_folder.as_ref().map(|folder| {
            let (earlier_steps, earlier_seconds) = (so_far.earlier_steps, so_far.earlier_seconds);
            let clock = Clock { began: Timestamp::now(), earlier_steps, earlier_seconds };
            Board::new(folder, experiment.to_toml(), clock)
        }),
        so_far,
        keeper,
        started: Instant::now(),
        memory,
    };
    let trained = train_from(checkpoint.as_ref(), learner, attachment, &mut feed, &settings, &mut watch)?;
    let Watch { progress, so_far, mut board, .. } = watch;
    if let Some(board) = &mut board {
        board.show(&so_far.curves, &so_far.speed)?; // the score that a run which was stopped had left
    }
    if let Some((_, tensors)) = &so_far.best {
        attachment.store_mut().load_adapter(tensors, "the best validation score")?;
    }
    let primary = &experiment.task.scoring.metrics[0].name;
    let chosen = so_far.curves.validation.get(primary).and_then(|points| points.last()?.value);
    let score = chosen.map(|score| format!(" · validation {score:.3}")).unwrap_or_default();
    let loss = so_far.curves.loss.last().and_then(|point| point.value).unwrap_or(f64::NAN);
    progress.finish(&format!("loss {loss:.4}{score}"));
    Ok((trained, so_far))
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
