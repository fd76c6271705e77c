//! Many runs: task by task, seed by seed, each cell once, with the runs that others need.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use compare::{Evidence, Run, RunRecord, Status, Store};
use jiff::Timestamp;
use peft_core::device;
use tasks::{Scorer, Split, Task, TaskConfig};

use crate::cli::RunArgs;
use crate::config::{Experiment, RunOptions, sibling};
use crate::memory::PeakMemory;
use crate::progress::Display;
use crate::run::{Context, Finished, Prepared, run, run_base, seeds};
use crate::session::Session;
use crate::solver::Solver;
use crate::{Error, Result, interrupt};

/// Runs all cells of a command line, each written to the store as soon as it is over.
pub struct Queue<'a> {
    args: &'a RunArgs,
    options: RunOptions,
    display: Display,
    out: PathBuf,
    store: Store,
    memory: PeakMemory,
    sessions: BTreeMap<String, Session<Box<dyn Solver>>>,
    prepared: BTreeMap<String, Prepared>,
    finished: BTreeMap<String, Finished>,
    bases: BTreeMap<String, Run>,
    failures: Vec<String>,
}

impl<'a> Queue<'a> {
    /// Opens the output folder.
    ///
    /// # Errors
    /// [`Error::Output`] if it cannot be written to.
    pub fn new(args: &'a RunArgs, display: Display) -> Result<Self> {
        let out = args.out.clone().unwrap_or_else(|| default_folder(args));
        check_writable(&out)?;
        Ok(Self {
            args,
            options: RunOptions::new(args),
            display,
            store: Store::new(out.join("records")),
            out,
            memory: PeakMemory::start(),
            sessions: BTreeMap::new(),
            prepared: BTreeMap::new(),
            finished: BTreeMap::new(),
            bases: BTreeMap::new(),
            failures: Vec::new(),
        })
    }

    /// The output folder.
    pub fn folder(&self) -> &Path {
        &self.out
    }

    /// Runs everything. A cell that fails is recorded and does not stop the others; Ctrl-C does.
    ///
    /// # Errors
    /// If a record cannot be written.
    pub fn run(&mut self, experiments: &[Experiment]) -> Result<()> {
        for experiment in experiments {
            for seed in self.args.seed..self.args.seed + self.args.seeds {
                if interrupt::asked() {
                    return Ok(());
                }
                let outcome =
                    self.base(experiment, seed).and_then(|()| self.cell(experiment, seed).map(|_| ()));
                match outcome {
                    Ok(()) => {}
                    Err(Error::Interrupted) => return Ok(()),
                    Err(error) => self.failed(experiment, seed, &error)?,
                }
            }
        }
        Ok(())
    }

    /// The finished runs, bases first.
    pub fn runs(&self) -> Vec<Run> {
        let adapted = self.finished.values().map(|finished| &finished.run);
        let mut runs: Vec<Run> = self.bases.values().chain(adapted).cloned().collect();
        runs.sort_by_key(|run| (!run.record.is_base(), run.record.created_at));
        runs
    }

    /// A sentence for each cell that failed.
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Scores the unadapted model, once for each task and model.
    fn base(&mut self, experiment: &Experiment, seed: u64) -> Result<()> {
        let key = format!("{} {}", experiment.task.name, session_key(&experiment.task, seed));
        if self.bases.contains_key(&key) {
            return Ok(());
        }
        let folder = self.out.clone();
        let run = run_base(&mut self.context(experiment, seed, &folder)?, experiment, seed)?;
        self.store.save(&run)?;
        self.bases.insert(key, run);
        Ok(())
    }

    /// Runs a cell, unless it is there already, and returns its key.
    fn cell(&mut self, experiment: &Experiment, seed: u64) -> Result<String> {
        let key = format!("{} seed {seed}", experiment.to_json());
        if self.finished.contains_key(&key) {
            return Ok(key);
        }
        let mut method = (experiment.method.info.build)(experiment.method.settings.clone())?;
        let mut needed = Vec::new();
        if let Some(need) = method.needs() {
            let other = self.cell(&sibling(self.args, experiment, &need)?, seed)?;
            method.provide(&self.finished[&other].adapter)?;
            needed.push(other);
        }
        let records: Vec<RunRecord> =
            needed.iter().map(|key| self.finished[key].run.record.clone()).collect();
        let records: Vec<&RunRecord> = records.iter().collect();
        let name = experiment.method.info.name;
        let folder =
            self.out.join("adapters").join(&experiment.task.name).join(name).join(format!("seed-{seed}"));
        let finished =
            run(&mut self.context(experiment, seed, &folder)?, experiment, method, seed, &records)?;
        self.store.save(&finished.run)?;
        let stopped = finished.run.record.status != Status::Success;
        self.finished.insert(key.clone(), finished);
        if stopped { Err(Error::Interrupted) } else { Ok(key) }
    }

    fn failed(&mut self, experiment: &Experiment, seed: u64, error: &Error) -> Result<()> {
        let (task, method) = (&experiment.task.name, experiment.method.info);
        let hint = error.hint().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
        let sentence = format!("{task} · {} · seed {seed}: {error}{hint}", method.name);
        self.display.say(&format!("failed: {sentence}"));
        self.failures.push(sentence);
        let mut record = RunRecord::new(Timestamp::now(), method.name, task, seed);
        method.family.clone_into(&mut record.family);
        method.variant.clone_into(&mut record.variant);
        record.suite.clone_from(&experiment.suite);
        record.config = experiment.to_json();
        record.status = Status::Failed { reason: error.to_string() };
        self.store.save(&Run { record, evidence: Evidence::Items(Vec::new()) })?;
        Ok(())
    }

    fn context<'b>(
        &'b mut self,
        experiment: &Experiment,
        seed: u64,
        adapter_folder: &'b Path,
    ) -> Result<Context<'b>> {
        let session_key = session_key(&experiment.task, seed);
        if experiment.task.training.quantize.is_some() {
            // What was stored cannot be had back, and methods start from the weights as they were loaded.
            self.sessions.remove(&session_key);
        }
        if !self.sessions.contains_key(&session_key) {
            let device = device::parse(&self.args.model.device)?;
            let checkpointing = self.options.gradient_checkpointing;
            let head = seeds(seed, &experiment.task.name).child("head");
            let session = Session::for_task(&experiment.task, device, checkpointing, &head)?;
            if self.options.packing && session.learner.as_causal_lm().is_none() {
                let reason = "`--packing` is for decoders that write; this model reads one sequence in a row";
                return Err(Error::Usage(reason.to_owned()));
            }
            self.sessions.insert(session_key.clone(), session);
        }
        let session = self.sessions.get_mut(&session_key).expect("loaded just now");
        let task_key = format!("{} {}", experiment.task.training.model, experiment.task.to_toml());
        if !self.prepared.contains_key(&task_key) {
            let prepared = prepare(&experiment.task, session, &self.options, self.display)?;
            self.prepared.insert(task_key.clone(), prepared);
        }
        Ok(Context {
            session,
            prepared: &self.prepared[&task_key],
            options: &self.options,
            memory: &self.memory,
            display: self.display,
            adapter_folder,
        })
    }
}

/// Loads and encodes a task for a model, and says what of the test split occurs in training.
///
/// # Errors
/// If data are missing or malformed, nothing is left to train on, or this machine cannot score the task.
pub fn prepare(
    config: &TaskConfig,
    session: &Session<Box<dyn Solver>>,
    options: &RunOptions,
    display: Display,
) -> Result<Prepared> {
    let scored_by = Scorer::new(&config.scoring).permit(options.permission).check_environment()?;
    let task = Task::load(config.clone(), options.data.as_deref())?;
    task.require(Split::Train)?;
    task.require(Split::Test)?;
    let overlap = task.overlap();
    if overlap.prompt.test_in_train > 0 {
        let (repeated, all) = (overlap.prompt.test_in_train, task.items(Split::Test).len());
        display.say(&format!("{}: {repeated} of {all} test prompts occur in training", config.name));
    }
    let encode = |split| session.learner.examples(config, &session.text, task.items(split));
    let train = encode(Split::Train)?;
    if train.sequences.is_empty() {
        let dropped = train.truncated.dropped;
        return Err(tasks::Error::NothingToTrainOn { split: "training", dropped }.into());
    }
    let validation = encode(Split::Validation)?;
    Ok(Prepared { task, train, validation, overlap, scored_by })
}

/// What decides which model is loaded: a head is drawn for each task and seed.
fn session_key(task: &TaskConfig, seed: u64) -> String {
    let head = task.head.as_ref().map(|head| format!("{} {head:?} {seed}", task.name));
    let training = &task.training;
    format!("{} {:?} {:?} {}", training.model, training.dtype, training.quantize, head.unwrap_or_default())
}

/// `runs/20251121-101500-lori`.
fn default_folder(args: &RunArgs) -> PathBuf {
    let now = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    Path::new("runs").join(format!("{now}-{}", args.method.join("+")))
}

/// Finds out before any training whether results can be written.
///
/// # Errors
/// [`Error::Output`].
pub fn check_writable(folder: &Path) -> Result<()> {
    let failed = |source| Error::Output { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let probe = folder.join(".writable");
    std::fs::write(&probe, []).map_err(failed)?;
    std::fs::remove_file(&probe).map_err(failed)
}
