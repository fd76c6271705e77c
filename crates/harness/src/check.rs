//! One tree against the baseline of another: the cells of a scenario, scored as always and looked at closely.

mod baseline;
mod pace;
mod probe;

pub use baseline::Baseline;

use compare::Run;
use compare::gate::{Failure, Measured, Measurements, Side};
use serde_json::json;

use crate::cli::RunArgs;
use crate::config::{CheckPlan, Experiment};
use crate::progress::{Display, Progress};
use crate::queue::{Queue, Stage};
use crate::{Error, Result};

/// What a tree does.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Its runs.
    pub runs: Vec<Run>,
    /// What was measured beside them.
    pub measurements: Measurements,
}

impl Tree {
    /// As a side of a check.
    pub fn side(&self) -> Side<'_> {
        Side { runs: &self.runs, measurements: &self.measurements }
    }
}

/// Runs and measures all cells with the first seed of `args`. A cell that fails is noted and does not stop the others.
///
/// # Errors
/// [`Error::Interrupted`]; if the output folder cannot be written to.
pub fn measure(
    args: &RunArgs,
    plan: &CheckPlan,
    experiments: &[Experiment],
    display: Display,
) -> Result<Tree> {
    let mut queue = Queue::new(args, Display::Quiet)?;
    let mut tree = Tree::default();
    for experiment in experiments {
        let (task, method) = (&experiment.task.name, experiment.method.info.name);
        let mut progress = display.start(&format!("{task} · {method}"), PARTS);
        match cell(&mut queue, plan, experiment, args.seed, &mut progress) {
            Ok((run, measured)) => {
                let score = run.record.metrics.first();
                let score = score.map(|metric| format!("{} {:.3} · ", metric.name, metric.value));
                let pace = format!("{:.2} × floor", measured.pace.ratio);
                progress.finish(&format!("{}{pace}", score.unwrap_or_default()));
                tree.measurements.environment = run.record.environment.clone();
                tree.runs.push(run);
                tree.measurements.cells.push(measured);
            }
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => {
                progress.finish(&format!("failed: {error}"));
                let (task, method) = (task.clone(), method.to_owned());
                tree.measurements.failures.push(Failure { task, method, reason: error.to_string() });
            }
        }
    }
    tree.measurements.write(queue.folder())?;
    Ok(tree)
}

/// Of a cell, as progress counts them.
const PARTS: u64 = 4;

fn cell(
    queue: &mut Queue<'_>,
    plan: &CheckPlan,
    experiment: &Experiment,
    seed: u64,
    progress: &mut Progress,
) -> Result<(Run, Measured)> {
    let folder = queue.folder().to_owned();
    let mut probe = || {
        let (method, _) = queue.method(experiment, seed)?;
        let mut context = queue.context(experiment, seed, &Stage::default(), &folder)?;
        let probe = probe::probe(&mut context, experiment, method, seed, plan)?;
        progress.step(0, "repeated run");
        Ok::<_, Error>(probe)
    };
    let (first, second) = (probe()?, probe()?);
    let (method, _) = queue.method(experiment, seed)?;
    let mut context = queue.context(experiment, seed, &Stage::default(), &folder)?;
    let pace = pace::pace(&mut context, experiment, method, seed, plan)?;
    progress.step(0, "timed");
    let key = queue.cell(experiment, seed)?;
    let run = queue.finished(&key).run.clone();
    progress.step(0, "scored");
    let measured = Measured {
        task: experiment.task.name.clone(),
        method: experiment.method.info.name.to_owned(),
        settings: settings(plan, experiment, seed),
        adapters: [first.adapter, second.adapter],
        losses: first.losses,
        update_norm: first.update_norm,
        evaluation_loss: first.evaluation_loss,
        trainable: first.trainable,
        adapter_bytes: run.record.adapter_bytes.unwrap_or_default(),
        work: first.work,
        pace,
    };
    Ok((run, measured))
}

/// Hash of all settings that decide what is measured.
pub fn settings(plan: &CheckPlan, experiment: &Experiment, seed: u64) -> String {
    let all = json!({ "check": plan, "cell": experiment.to_json(), "seed": seed });
    blake3::hash(all.to_string().as_bytes()).to_hex()[..16].to_owned()
}
