//! Stored answers, scored again by a task's present rules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use compare::{Evidence, MetricValue, Outcome, Run, Store};
use tasks::{Item, Split, Task, TaskConfig};

use crate::cli::TaskArgs;
use crate::evaluate::{compare_split, judge, texts};
use crate::{Error, Result};

/// How deep records lie in their store: suite, task, method, seed, file.
const DEPTH: usize = 5;

/// Scores records again; a task is loaded once for all of its records.
pub struct Rescorer<'a> {
    tasks: BTreeMap<String, Task>,
    /// The task whose rules are taken and whose records are scored, if not the record's own.
    named: Option<TaskConfig>,
    args: &'a TaskArgs,
}

/// What became of a record.
#[derive(Debug)]
pub enum Outcomes {
    /// It is of another task than the one that is meant.
    OfAnotherTask,
    /// Its scores are those that the rules give.
    Same,
    /// Its next revision.
    Changed(Box<Change>),
}

/// A record and its next revision.
#[derive(Debug)]
pub struct Change {
    /// As it was.
    pub old: Run,
    /// As it is now.
    pub new: Run,
}

impl Change {
    /// Items whose scores are not what they were.
    pub fn items(&self) -> usize {
        let outcomes = |run: &Run| run.outcomes().map(<[Outcome]>::to_vec).unwrap_or_default();
        let (old, new) = (outcomes(&self.old), outcomes(&self.new));
        old.iter().zip(&new).filter(|(old, new)| old.scores != new.scores).count()
    }

    /// Each metric before and after, where there was one and is one.
    pub fn metrics(&self) -> Vec<(Option<&MetricValue>, Option<&MetricValue>)> {
        let (old, new) = (&self.old.record, &self.new.record);
        let kept = new.metrics.iter().map(|metric| (old.metric(&metric.name), Some(metric)));
        let gone = old.metrics.iter().filter(|metric| new.metric(&metric.name).is_none());
        kept.chain(gone.map(|metric| (Some(metric), None))).collect()
    }
}

impl<'a> Rescorer<'a> {
    /// With the rules of the task `named`, for its records alone, or with those of each record's own task as it is today.
    ///
    /// # Errors
    /// For an unknown name, or a file that does not parse.
    pub fn new(named: Option<&str>, args: &'a TaskArgs) -> Result<Self> {
        let named = named.map(|name| args.read(name)).transpose()?;
        Ok(Self { tasks: BTreeMap::new(), named, args })
    }

    /// Scores the record in `path` again and, if that changes it, stores its next revision beside it.
    ///
    /// # Errors
    /// If it has no outputs or is part of a sequence, its task is not known, its items are not those of the task, or the
    /// rules refuse an answer; and whatever reading and writing can give.
    pub fn score(&mut self, path: &Path) -> Result<Outcomes> {
        let run = compare::load(path)?;
        let refused = |reason: String| Error::Failed(reason);
        let Evidence::Items(outcomes) = &run.evidence else {
            return Err(refused("it has no outputs to score again".to_owned()));
        };
        if outcomes.is_empty() {
            return Err(refused(format!("it has no outputs to score again: {}", run.record.status)));
        }
        if run.record.sequence.is_some() {
            let reason = "the scores of its sequence's other tasks were kept without outputs".to_owned();
            return Err(refused(reason));
        }
        let Some(config) = self.rules(&run)? else { return Ok(Outcomes::OfAnotherTask) };
        let args = self.args;
        let task = self.load(&config)?;
        let items = items(task, &run).map_err(refused)?;
        let samples = config.decoding.samples;
        let answers: Vec<_> = outcomes
            .iter()
            .map(|outcome| texts(&outcome.output, samples))
            .collect::<Result<_, _>>()
            .map_err(refused)?;
        let (scores, metrics) = judge(&config, args.permission(), &items, &answers)?;
        let scores =
            scores.into_iter().map(|scores| scores.into_iter().map(|(n, s)| (n.to_owned(), s)).collect());
        let scores: Vec<BTreeMap<String, f64>> = scores.collect();
        let mut new = compare::rescore(&run, &metrics, |_| scores)?;
        if (&new.record.metrics, new.outcomes()) == (&run.record.metrics, run.outcomes()) {
            return Ok(Outcomes::Same);
        }
        new.record.config["task"] = serde_json::to_value(&config).expect("a task is plain data");
        new.record.notes.push(format!("scored again by version {}", env!("CARGO_PKG_VERSION")));
        store_of(path)?.save(&new)?;
        Ok(Outcomes::Changed(Box::new(Change { old: run, new })))
    }

    /// The record's task with the rules that are asked for; none if they are another's.
    fn rules(&self, run: &Run) -> Result<Option<TaskConfig>> {
        let mut config: TaskConfig =
            serde_json::from_value(run.record.config["task"].clone()).map_err(|error| {
                Error::Failed(format!("its configuration holds no task that is read today: {error}"))
            })?;
        let is_provided = tasks::PROVIDED.iter().any(|(name, _)| *name == config.name);
        let present = match &self.named {
            Some(named) if named.name != config.name => return Ok(None),
            Some(named) => named.clone(),
            None if is_provided => self.args.read(&config.name)?,
            None => {
                let reason = format!("no task is called `{}`: name its file with `--task FILE`", config.name);
                return Err(Error::Failed(reason));
            }
        };
        config.scoring = present.scoring;
        config.decoding.judged = present.decoding.judged;
        let origin = format!("{}, with the rules of today", config.name);
        Ok(Some(TaskConfig::parse(&config.to_toml(), &origin)?))
    }

    fn load(&mut self, config: &TaskConfig) -> Result<&Task> {
        let key = config.to_toml();
        if !self.tasks.contains_key(&key) {
            self.tasks.insert(key.clone(), Task::load_from(config.clone(), &self.args.place())?);
        }
        Ok(&self.tasks[&key])
    }
}

/// The items that were answered, in the order of the outcomes.
fn items(task: &Task, run: &Run) -> Result<Vec<Item>, String> {
    let split = run.record.data.get(&compare_split(Split::Test));
    let stated = split.map(|split| split.hash.as_str());
    let found = task.digest(Split::Test);
    if stated.is_some_and(|stated| stated != found) {
        let short = |hash: &str| hash.chars().take(16).collect::<String>();
        return Err(format!(
            "its test items are not those of the task: their hash is {}, the task's {}",
            short(stated.unwrap_or_default()),
            short(&found)
        ));
    }
    let by_id: BTreeMap<&str, &Item> =
        task.items(Split::Test).iter().map(|item| (item.id.as_str(), item)).collect();
    let outcomes = run.outcomes().unwrap_or_default().iter();
    let found = outcomes.map(|outcome| match by_id.get(outcome.id.as_str()) {
        Some(item) => Ok((*item).clone()),
        None => Err(format!("the task has no test item `{}`", outcome.id)),
    });
    found.collect()
}

/// The paths of the records that are meant: the newest revision of each.
///
/// # Errors
/// If there is none.
pub fn paths(records: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in records {
        if path.is_dir() {
            let found = Store::new(path).list()?;
            if found.is_empty() {
                return Err(compare::Error::NoRunsIn { path: path.clone() }.into());
            }
            all.extend(found);
        } else {
            all.push(path.clone());
        }
    }
    Ok(all)
}

fn store_of(path: &Path) -> Result<Store> {
    let path = std::path::absolute(path).map_err(|source| peft_core::Error::io(path, source))?;
    let root = path.ancestors().nth(DEPTH).unwrap_or(&path);
    Ok(Store::new(root))
}
