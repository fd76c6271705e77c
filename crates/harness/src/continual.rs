//! Tasks learned one after another by one adapter: what is remembered, and what helps what comes.
//!
//! Stage i starts from the adapter of stage i − 1, whatever the method: LoRI keeps its A and goes on from its B, and LoRI-S
//! moves only what the mask of the new task lets move, as the code of LoRI (arXiv 2504.07448) does. The optimizer starts
//! afresh.

use compare::{MetricValue, Sequence};

use crate::Result;
use crate::config::Experiment;
use crate::evaluate::Scored;
use crate::queue::{Queue, Stage};
use crate::run::{Finished, Prepared};

/// What stands beside the plain sequence.
#[derive(Clone, Copy, Debug, Default)]
pub struct References {
    /// Share of every earlier task's training items that a stage also sees.
    pub replay: f64,
    /// Whether the method also learns all tasks at once, in as many steps.
    pub joint: bool,
}

/// One method after its last task.
#[derive(Debug)]
pub struct Learned {
    /// The method.
    pub method: &'static str,
    /// The seed.
    pub seed: u64,
    /// The accuracy matrix.
    pub sequence: Sequence,
    /// The finished cell of the last stage.
    pub key: String,
    /// The scores after learning all tasks at once.
    pub joint: Option<Vec<Option<MetricValue>>>,
}

/// Lets one method learn the tasks of `experiments` in their order.
///
/// # Errors
/// Whatever a stage refuses; if the settings of two tasks do not allow one adapter (another rank, say).
pub fn learn(
    queue: &mut Queue<'_>,
    experiments: &[&Experiment],
    seed: u64,
    references: References,
) -> Result<Learned> {
    let mut before = Vec::new();
    for experiment in experiments {
        before.push(queue.base_of(experiment, seed)?.record.metrics.first().cloned());
    }
    let data =
        experiments.iter().map(|experiment| queue.data_of(experiment, seed)).collect::<Result<Vec<_>>>()?;
    let mut matrix = Sequence { tasks: names(experiments), before, after: Vec::new() };
    let mut start: Option<String> = None;
    for (index, experiment) in experiments.iter().enumerate() {
        let replayed =
            (references.replay > 0.0).then(|| mixture(&data[index], &data[..index], references.replay));
        let row = |finished: &Finished| {
            let mut after = matrix.after.clone();
            after.push(scores(index, finished)?);
            Ok(Sequence { after, ..matrix.clone() })
        };
        let so_far = matrix.tasks[..=index].join("-");
        let stage = Stage {
            name: if index > 0 && references.replay > 0.0 { format!("{so_far}-replay") } else { so_far },
            start: start.as_deref(),
            data: replayed.as_ref(),
            others: others(experiments, index),
            sequence: Some(&row),
        };
        let key = queue.stage(experiment, seed, &stage)?;
        matrix = sequence(queue, &key);
        start = Some(key);
    }
    let joint = references.joint.then(|| joint(queue, experiments, &data, &matrix, seed)).transpose()?;
    let key = start.expect("a sequence has tasks");
    Ok(Learned { method: experiments[0].method.info.name, seed, sequence: matrix, key, joint })
}

/// All tasks at once, in the steps of all of them together.
fn joint(
    queue: &mut Queue<'_>,
    experiments: &[&Experiment],
    data: &[Prepared],
    alone: &Sequence,
    seed: u64,
) -> Result<Vec<Option<MetricValue>>> {
    let mut experiment = experiments[0].clone();
    let steps = |(experiment, data): (&&Experiment, &Prepared)| {
        let training = &experiment.task.training;
        training.total_steps(data.train.sequences.len().div_ceil(training.batch_size) as u64)
    };
    let training = &mut experiment.task.training;
    (training.steps, training.epochs) = (Some(experiments.iter().zip(data).map(steps).sum()), None);
    let all = mixture(&data[0], &data[1..], 1.0);
    let row = |finished: &Finished| Ok(Sequence { after: vec![scores(0, finished)?], ..alone.clone() });
    let stage = Stage {
        sequence: Some(&row),
        name: format!("{}-jointly", names(experiments).join("-")),
        data: Some(&all),
        others: others(experiments, 0),
        ..Stage::default()
    };
    let key = queue.stage(&experiment, seed, &stage)?;
    Ok(sequence(queue, &key).after.remove(0))
}

fn sequence(queue: &Queue<'_>, key: &str) -> Sequence {
    queue.finished(key).run.record.sequence.clone().expect("every stage has its matrix")
}

/// The training split of `own` with the first part of those of `others`; tests and validation are those of `own`.
fn mixture(own: &Prepared, others: &[Prepared], share: f64) -> Prepared {
    let mut all = own.clone();
    for other in others {
        let sequences = &other.train.sequences;
        let count = (share * sequences.len() as f64).round() as usize;
        all.train.sequences.extend_from_slice(&sequences[..count.min(sequences.len())]);
    }
    all
}

fn names(experiments: &[&Experiment]) -> Vec<String> {
    experiments.iter().map(|experiment| experiment.task.name.clone()).collect()
}

fn others<'a>(experiments: &[&'a Experiment], own: usize) -> Vec<&'a tasks::TaskConfig> {
    experiments.iter().enumerate().filter(|(index, _)| *index != own).map(|(_, other)| &other.task).collect()
}

/// The primary metric on every task, in order, after the run that trained on task `own`.
fn scores(own: usize, finished: &Finished) -> Result<Vec<Option<MetricValue>>> {
    let mut row = finished.others.iter().map(primary).collect::<Result<Vec<_>>>()?;
    row.insert(own, finished.run.record.metrics.first().cloned());
    Ok(row)
}

fn primary(scored: &Scored) -> Result<Option<MetricValue>> {
    match scored.metrics.first() {
        Some(metric) => Ok(metric.measure(&scored.outcomes)?),
        None => Ok(None),
    }
}
