//! Scoring an adapter's file, wherever it comes from.

use compare::{Evidence, Run, RunRecord, Status};
use jiff::Timestamp;
use merging::Updates;
use peft_core::peft_file::AdapterFile;
use peft_core::{Adaptable, AsLoaded, Attachment, Seeds, StateDict};
use serde_json::json;
use tasks::Split;

use crate::adapter::attach;
use crate::cells::{CellKey, surroundings};
use crate::config::Experiment;
use crate::evaluate::{Examiner, Scored};
use crate::queue::{Queue, Stage};
use crate::run::{Context, examiner, seeds};
use crate::{Result, record};

/// Scores of the adapter in `file` on the task of the context and on its other tasks, through merged weights; `streams` are
/// those of sampled decoding, task by task.
///
/// # Errors
/// If the file does not fit the model; whatever scoring refuses.
pub fn score_adapter(
    context: &mut Context<'_>,
    file: &AdapterFile,
    streams: &[Seeds],
    split: Split,
    label: &str,
) -> Result<Vec<Scored>> {
    let (attachment, ..) = attach(&mut context.session.learner, ADAPTER, file, None)?;
    score_attached(context, &attachment, streams, split, label)
}

/// The same of updates by module.
///
/// # Errors
/// If they do not fit the model; whatever scoring refuses.
pub fn score_updates(
    context: &mut Context<'_>,
    updates: Updates,
    streams: &[Seeds],
    split: Split,
    label: &str,
) -> Result<Vec<Scored>> {
    let attachment = merging::attach(&mut context.session.learner, ADAPTER, updates, &AsLoaded)?;
    score_attached(context, &attachment, streams, split, label)
}

const ADAPTER: &str = "scored";

fn score_attached(
    context: &mut Context<'_>,
    attachment: &Attachment,
    streams: &[Seeds],
    split: Split,
    label: &str,
) -> Result<Vec<Scored>> {
    context.session.learner.activate(&attachment.active());
    context.session.learner.merge();
    let tasks = std::iter::once(context.prepared).chain(context.others.iter().copied());
    let scores = tasks.zip(streams).map(|(prepared, streams)| {
        let own = Examiner { task: &prepared.task, ..examiner(context, streams) };
        own.score(&*context.session.learner, split, &format!("{} {label}", prepared.task.config().name))
    });
    let scores = scores.collect();
    context.session.learner.unmerge();
    attachment.detach(&mut context.session.learner);
    scores
}

/// The adapter of the finished cell `key`, which learned something else, on the task of `experiment`.
///
/// # Errors
/// As [`score_adapter`].
pub fn elsewhere(queue: &mut Queue<'_>, key: &str, experiment: &Experiment, seed: u64) -> Result<Run> {
    let (cells, found) = (queue.cells().clone(), queue.finder());
    let trained = queue.finished(key).run.record.clone();
    let file = AdapterFile::read(&queue.finished(key).folder)?;
    let folder = queue.folder().to_owned();
    let mut context = queue.context(experiment, seed, &Stage::default(), &folder)?;
    let what = json!({ "trained": key, "scored": experiment.to_json() });
    let cell = CellKey::new(&json!([surroundings(&context), what]));
    if let Some((run, _)) = found(&cell) {
        return Ok(run);
    }
    let task = &experiment.task.name;
    let streams = [seeds(seed, task)];
    let scored = score_adapter(&mut context, &file, &streams, Split::Test, "score")?.swap_remove(0);
    let mut record = RunRecord::new(Timestamp::now(), &trained.method, task, seed);
    record::common(&mut record, experiment, &context);
    record.family.clone_from(&trained.family);
    record.variant.clone_from(&trained.variant);
    record.config = experiment.to_json();
    record.parameters.clone_from(&trained.parameters);
    record.total.clone_from(&trained.total);
    record.notes.push(format!("trained on {}", trained.task));
    record.needs = vec![trained.id];
    record::score(&mut record, &scored)?;
    record.status = Status::Success;
    let mut run = Run { record, evidence: Evidence::Items(scored.outcomes) };
    cells.save(&cell, &mut run, &StateDict::new())?;
    Ok(run)
}
