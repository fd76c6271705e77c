//! Tuning with one budget for all methods: as many trials of the same lengths for each, judged on the validation split.

mod search;

use compare::{Better, Point, RunRecord};
use serde::Serialize;
use tasks::Select;

use crate::cli::RunArgs;
use crate::config::{Experiment, resolve};
use crate::queue::Queue;
use crate::{Error, Result};

pub use search::{Budget, Score, Strategy};

/// One run of a search.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// Settings besides the learning rate, as `--set` takes them.
    pub settings: Vec<String>,
    /// Learning rate.
    pub lr: f64,
    /// Optimizer steps; shorter than those of the task in the first rounds of halving.
    pub steps: u64,
    /// The task's first metric on the validation split.
    pub validation: Option<f64>,
    /// The loss on it.
    pub loss: Option<f64>,
    /// Why there is neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    #[serde(skip)]
    score: Score,
}

/// What a search found for one method on one task.
#[derive(Clone, Debug, Serialize)]
pub struct Tuned {
    /// The method.
    pub method: String,
    /// The task.
    pub task: String,
    /// The metric that decided.
    pub metric: String,
    /// Learning rate where nothing is tuned.
    pub default_lr: f64,
    /// All trials, in their order.
    pub trials: Vec<Trial>,
    /// Index of the best of the longest.
    pub best: usize,
    /// Whether no rate below or none above the best one was tried: a larger budget may find a better one.
    pub at_edge: bool,
}

impl Tuned {
    /// The best trial.
    pub fn chosen(&self) -> &Trial {
        &self.trials[self.best]
    }

    /// What was chosen as `--set` takes it, for this method on this task alone.
    pub fn assignments(&self) -> Vec<String> {
        let Trial { settings, lr, .. } = self.chosen();
        let here = format!("methods.{}.on.{}.", self.method, self.task);
        let settings = settings.iter().map(|setting| of_method(setting, &here));
        settings.chain([format!("{here}optimizer.lr={lr:e}")]).collect()
    }
}

/// The combinations of `KEY=VALUE,VALUE,…`, one value of each.
///
/// # Errors
/// [`Error::Usage`] for a text of another form.
pub fn combinations(over: &[String]) -> Result<Vec<Vec<String>>> {
    let mut all: Vec<Vec<String>> = vec![Vec::new()];
    for text in over {
        let Some((key, values)) = text.split_once('=').filter(|(key, _)| key.starts_with("method.")) else {
            return Err(Error::Usage(format!(
                "`--over {text}`: expected a setting of methods with its values, as in `method.rank=8,16`"
            )));
        };
        let with =
            |known: &Vec<String>, value: &str| [known.clone(), vec![format!("{key}={value}")]].concat();
        all = all.iter().flat_map(|known| values.split(',').map(|value| with(known, value))).collect();
    }
    Ok(all)
}

/// Searches for the learning rate of `experiment` with seed `args.seed`, once for each of `combinations` of other settings.
/// `before` is what was chosen for other methods, as `--set` takes it: a run that needs another one's output gets that of
/// the tuned one.
///
/// # Errors
/// [`Error::Interrupted`]; for a setting that does not exist; [`Error::Failed`] if no trial succeeds.
pub fn tune(
    queue: &mut Queue<'_>,
    args: &RunArgs,
    experiment: &Experiment,
    budget: &Budget,
    combinations: &[Vec<String>],
    before: &[String],
) -> Result<Tuned> {
    let (method, task) = (experiment.method.info.name, experiment.task.name.as_str());
    let training = &experiment.task.training;
    let sequences = queue.data_of(experiment, args.seed)?.train.sequences.len();
    let full = training.total_steps(sequences.div_ceil(training.batch_size) as u64);
    let default_lr = experiment.method.optimizer.lr;
    let mut trials: Vec<Trial> = Vec::new();
    for settings in combinations {
        budget.search(default_lr, |lr, share| {
            let steps = ((full as f64 * share).round() as u64).max(1);
            let own = settings.iter().map(|setting| of_method(setting, &format!("methods.{method}.")));
            let rate = format!("methods.{method}.optimizer.lr={lr:e}");
            let here = RunArgs {
                set: args.set.iter().chain(before).cloned().chain(own).chain([rate]).collect(),
                max_steps: if share < 1.0 { Some(steps) } else { args.max_steps },
                ..args.clone()
            };
            let mut trial = Trial::new(settings, lr, steps);
            match queue.cell(&find(resolve(&here)?, method, task), args.seed) {
                Ok(key) => trial.judge(&queue.finished(&key).run.record, training.select),
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                Err(error) => trial.failed = Some(error.to_string()),
            }
            let score = trial.score;
            trials.push(trial);
            Ok(score)
        })?;
    }
    let longest = trials.iter().map(|trial| trial.steps).max().unwrap_or(full);
    let candidates = (0..trials.len()).filter(|&index| trials[index].steps == longest);
    let best =
        candidates.max_by(|&a, &b| trials[a].score.compare(&trials[b].score)).expect("a trial at least");
    if let Some(reason) = &trials[best].failed {
        return Err(Error::Failed(format!("all {} trials failed, the last with: {reason}", trials.len())));
    }
    let same = trials.iter().filter(|trial| trial.settings == trials[best].settings);
    let (low, high) = same.fold((f64::INFINITY, 0.0_f64), |(low, high), t| (low.min(t.lr), high.max(t.lr)));
    let at_edge = [low, high].contains(&trials[best].lr);
    let metric = experiment.task.scoring.metrics[0].name.clone();
    Ok(Tuned { method: method.to_owned(), task: task.to_owned(), metric, default_lr, trials, best, at_edge })
}

/// The experiment of one method and task among all that a command line asks for.
///
/// # Panics
/// If it is not there.
pub fn find(experiments: Vec<Experiment>, method: &str, task: &str) -> Experiment {
    let wanted = |one: &Experiment| one.method.info.name == method && one.task.name == task;
    experiments.into_iter().find(wanted).expect("settings change neither methods nor tasks")
}

/// `method.rank=8` as a setting of one method, whose settings begin with `here`.
fn of_method(setting: &str, here: &str) -> String {
    setting.strip_prefix("method.").map_or_else(|| setting.to_owned(), |rest| format!("{here}{rest}"))
}

impl Trial {
    fn new(settings: &[String], lr: f64, steps: u64) -> Self {
        let settings = settings.to_vec();
        Self { settings, lr, steps, validation: None, loss: None, failed: None, score: Score::FAILED }
    }

    /// Takes the state of the run that is kept: the last, or the best on the validation split.
    fn judge(&mut self, record: &RunRecord, select: Select) {
        let Some(metric) = record.metrics.first() else { return };
        let sign = if metric.better == Better::Higher { 1.0 } else { -1.0 };
        let points = |name: &str| record.curves.validation.get(name).map_or(&[][..], Vec::as_slice);
        let values = points(&metric.name);
        let kept = match select {
            Select::Last => values.len().checked_sub(1),
            Select::BestValidation => {
                let value =
                    |index: usize| values[index].value.map_or(f64::NEG_INFINITY, |value| sign * value);
                (0..values.len()).rev().max_by(|&a, &b| value(a).total_cmp(&value(b)))
            }
        };
        let at = |points: &[Point]| kept.and_then(|index| points.get(index)?.value);
        (self.validation, self.loss) = (at(values), at(points("loss")));
        self.score = Score { value: self.validation.map(|value| sign * value), loss: self.loss };
    }
}
