//! The runs that a paper's table asks for.

use compare::Run;
use tables::{Merge, Procedure, TableRun};

use crate::cli::RunArgs;
use crate::config::{Experiment, MergePlan, Search, resolve};
use crate::continual::{References, learn};
use crate::progress::Display;
use crate::queue::Queue;
use crate::scenario::{elsewhere, merged};
use crate::{Error, Result};

/// A run of a pack with the command line that asks for it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What the pack asks for.
    pub run: TableRun,
    /// How a user would.
    pub args: RunArgs,
}

impl Asked {
    /// With everything that `over` says about place and size.
    pub fn new(run: &TableRun, over: &RunArgs) -> Self {
        let mut args = over.clone();
        // The unadapted model is scored beside any method, of which nothing is run then.
        let method = if run.method == compare::BASE { methods::METHODS[0].name } else { &run.method };
        args.method = vec![method.to_owned()];
        args.task = vec![run.task.clone()];
        args.tasks.preset = run.preset.clone().or(args.tasks.preset);
        args.suite = run.suite.clone().unwrap_or(args.suite);
        args.model.model = args.model.model.or_else(|| run.model.clone());
        args.seeds = args.seeds.or(Some(run.seeds));
        args.set = run.overrides.iter().cloned().chain(args.set).collect();
        Self { run: run.clone(), args }
    }

    /// The cell, everything laid over.
    ///
    /// # Errors
    /// As [`resolve`].
    pub fn experiment(&self) -> Result<Experiment> {
        Ok(resolve(&self.args)?.swap_remove(0))
    }
}

/// Runs those of one row of a pack, or finds them; for each the runs of all seeds, or why there are none.
///
/// # Errors
/// If the output folder cannot be written; whatever fails for all runs of the row at once.
pub fn measure(row: &[Asked], display: Display) -> Result<Vec<Result<Vec<Run>>>> {
    let Some(first) = row.first() else { return Ok(Vec::new()) };
    match &first.run.procedure {
        Procedure::Single => Ok(row.iter().map(|asked| single(asked, row, display)).collect()),
        Procedure::Merge(merge) => merges(row, merge, display),
        Procedure::Continual { first } => Ok(sequence(row, first, display)?.into_iter().map(Ok).collect()),
        Procedure::RewardModel | Procedure::Policy => {
            Err(Error::Usage("learning from preferences is not built yet".to_owned()))
        }
    }
}

/// One training for each `trained_on`, that of the first run which names it.
fn single(asked: &Asked, row: &[Asked], display: Display) -> Result<Vec<Run>> {
    let same = |other: &&Asked| other.run.trained_on == asked.run.trained_on;
    let trained = row.iter().find(same).expect("the run itself at least");
    let mut queue = Queue::new(&trained.args, display)?;
    let (training, own) = (trained.experiment()?, asked.experiment()?);
    let mut runs = Vec::new();
    for seed in asked.args.all_seeds() {
        if asked.run.method == compare::BASE {
            runs.push(queue.base_of(&own, seed)?.clone());
            continue;
        }
        let key = queue.cell(&training, seed)?;
        runs.push(if trained.run.task == asked.run.task {
            queue.finished(&key).run.clone()
        } else {
            elsewhere(&mut queue, &key, &own, seed)?
        });
    }
    Ok(runs)
}

/// All tasks of the row merged into one adapter.
fn merges(row: &[Asked], merge: &Merge, display: Display) -> Result<Vec<Result<Vec<Run>>>> {
    let experiments = row.iter().map(Asked::experiment).collect::<Result<Vec<_>>>()?;
    let tasks: Vec<String> = experiments.iter().map(|experiment| experiment.task.name.clone()).collect();
    let method = experiments[0].method.info.name;
    let plan = MergePlan {
        combinations: vec![tasks.clone()],
        weights: vec![merge.weight],
        search: Search::Common,
        ways: [(method.to_owned(), vec![merge.how.clone()])].into(),
        density: merge.density.unwrap_or(1.0),
    };
    let mut queue = Queue::new(&row[0].args, display)?;
    let mut all = Vec::new();
    for seed in row[0].args.all_seeds() {
        all.extend(merged(&mut queue, &experiments.iter().collect::<Vec<_>>(), &plan, seed)?.0);
    }
    let name = format!("{method}-{}", merge.how);
    let of = |task: &String| {
        let label = format!("{task} in {}", tasks.join("+"));
        all.iter().filter(|run| run.record.task == label && run.record.method == name).cloned().collect()
    };
    Ok(tasks.iter().map(|task| Ok(of(task))).collect())
}

/// The task `first` learned, then that of the other columns; the adapter that results, scored on every task of the row.
fn sequence(row: &[Asked], first: &str, display: Display) -> Result<Vec<Vec<Run>>> {
    let refuse = |reason: &str| Err(Error::Usage(format!("a sequence that begins with `{first}`: {reason}")));
    let Some(before) = row.iter().find(|asked| asked.run.task_and_preset() == first) else {
        return refuse("no column of the row is scored by that task");
    };
    let rest: Vec<&Asked> =
        row.iter().filter(|asked| asked.run.trained_on != before.run.trained_on).collect();
    let Some(then) = rest.first() else { return refuse("no column of the row is of another one") };
    if rest.iter().any(|asked| asked.run.trained_on != then.run.trained_on) {
        return refuse("the other columns of the row are of several trainings");
    }
    let mut queue = Queue::new(&then.args, display)?;
    let tasks = [before.experiment()?, then.experiment()?];
    let mut runs: Vec<Vec<Run>> = row.iter().map(|_| Vec::new()).collect();
    for seed in then.args.all_seeds() {
        let learned = learn(&mut queue, &tasks.each_ref(), seed, References::default())?;
        for (asked, runs) in row.iter().zip(&mut runs) {
            runs.push(elsewhere(&mut queue, &learned.key, &asked.experiment()?, seed)?);
        }
    }
    Ok(runs)
}
