//! Many runs: task by task, seed by seed, each cell once, with the runs that others need.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use compare::{Evidence, Run, RunRecord, Status, Store};
use jiff::Timestamp;
use peft_core::{Method, StateDict, device};
use serde_json::{Value, json};
use tasks::{Scorer, Split, Task, TaskConfig};

use crate::board::Board;
use crate::cells::{CellKey, Cells, surroundings};
use crate::checkpoint::{self, Every};
use crate::cli::RunArgs;
use crate::config::{Experiment, RunOptions};
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
    cells: Cells,
    memory: PeakMemory,
    sessions: BTreeMap<String, Session<Box<dyn Solver>>>,
    prepared: BTreeMap<String, Prepared>,
    finished: BTreeMap<String, Finished>,
    bases: BTreeMap<String, Run>,
    failures: Vec<String>,
    apart: bool,
}

/// What makes a cell a part of something larger.
#[derive(Default)]
pub struct Stage<'a> {
    /// What its task is called in records and folders, so that no table takes it for the cell alone; empty for that cell.
    pub name: String,
    /// The key of the cell whose adapter it goes on from.
    pub start: Option<&'a str>,
    /// What it trains on, where that is not its own task.
    pub data: Option<&'a Prepared>,
    /// Other tasks it is scored on.
    pub others: Vec<&'a TaskConfig>,
    /// The accuracy matrix up to it, once it is scored.
    pub sequence: Option<Matrix<'a>>,
}

/// Makes the matrix of a stage that is over.
pub type Matrix<'a> = &'a dyn Fn(&Finished) -> Result<compare::Sequence>;

impl<'a> Queue<'a> {
    /// Opens the output folder.
    ///
    /// # Errors
    /// [`Error::Output`] if it cannot be written to.
    pub fn new(args: &'a RunArgs, display: Display) -> Result<Self> {
        let out = args.out.clone().unwrap_or_else(|| default_folder(&args.method.join("+")));
        check_writable(&out)?;
        Ok(Self {
            args,
            options: RunOptions::new(args),
            display,
            cells: Cells::new(out.join("cells"), Store::new(out.join("records"))),
            out,
            memory: PeakMemory::start(),
            sessions: BTreeMap::new(),
            prepared: BTreeMap::new(),
            finished: BTreeMap::new(),
            bases: BTreeMap::new(),
            failures: Vec::new(),
            apart: false,
        })
    }

    /// For cells of one task, method and seed with several settings, here and in other processes: each has checkpoints of its
    /// own. Otherwise one of other settings is an error, for it may be a mistake to leave that run unfinished.
    #[must_use]
    pub fn apart(self) -> Self {
        Self { apart: true, ..self }
    }

    /// The finished cells.
    pub fn cells(&self) -> &Cells {
        &self.cells
    }

    /// The output folder.
    pub fn folder(&self) -> &Path {
        &self.out
    }

    /// Runs everything and returns what succeeded, bases first. A cell that fails is recorded and does not stop the others;
    /// Ctrl-C does.
    ///
    /// # Errors
    /// If a record cannot be written.
    pub fn run(&mut self, experiments: &[Experiment]) -> Result<Vec<Run>> {
        let (mut bases, mut adapted) = (BTreeMap::new(), Vec::new());
        let mut task = None;
        for experiment in experiments {
            if task.replace(&experiment.task.name).is_some_and(|last| *last != experiment.task.name) {
                self.leave_task();
            }
            for seed in self.args.all_seeds() {
                let outcome = match self.base_of(experiment, seed).cloned() {
                    _ if interrupt::asked() => Err(Error::Interrupted),
                    Ok(base) => {
                        bases.insert(base.record.id.clone(), base);
                        self.cell(experiment, seed)
                    }
                    Err(error) => Err(error),
                };
                match outcome {
                    Ok(key) => adapted.push(self.finished[&key].run.clone()),
                    Err(Error::Interrupted) => return Ok(bases.into_values().chain(adapted).collect()),
                    Err(error) => self.failed(experiment, seed, &error)?,
                }
            }
        }
        Ok(bases.into_values().chain(adapted).collect())
    }

    /// Lets go of what no other task needs, so that memory measured there is its own.
    pub fn leave_task(&mut self) {
        self.prepared.clear();
        self.sessions.retain(|_, session| session.learner.fresh_modules().is_empty());
    }

    /// What a run left.
    ///
    /// # Panics
    /// If no run has this key.
    pub fn finished(&self, key: &str) -> &Finished {
        &self.finished[key]
    }

    /// Lets go of a run and its adapter; asked for once more, it is found in the folder.
    pub fn forget(&mut self, key: &str) {
        self.finished.remove(key);
    }

    /// The unadapted model on the task of `experiment`.
    ///
    /// # Errors
    /// As scoring.
    pub fn base_of(&mut self, experiment: &Experiment, seed: u64) -> Result<&Run> {
        self.base(experiment, seed)?;
        Ok(&self.bases[&base_key(experiment, seed).to_string()])
    }

    /// The data of a task in the tokens of its model.
    ///
    /// # Errors
    /// As [`prepare`].
    pub fn data_of(&mut self, experiment: &Experiment, seed: u64) -> Result<Prepared> {
        let folder = self.out.clone();
        Ok(self.context(experiment, seed, &Stage::default(), &folder)?.prepared.clone())
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
        let what = base_key(experiment, seed);
        let key = what.to_string();
        if self.bases.contains_key(&key) {
            return Ok(());
        }
        let (folder, cells, found) = (self.out.clone(), self.cells.clone(), self.finder());
        let mut context = self.context(experiment, seed, &Stage::default(), &folder)?;
        let cell = CellKey::new(&json!([surroundings(&context), what]));
        let run = match found(&cell) {
            Some((run, _)) => run,
            None => {
                let mut run = run_base(&mut context, experiment, seed)?;
                cells.save(&cell, &mut run, &StateDict::new())?;
                run
            }
        };
        self.bases.insert(key, run);
        self.leave_quantized(experiment, seed);
        Ok(())
    }

    /// Runs a cell, unless it is there already, and returns its key.
    ///
    /// # Errors
    /// Whatever the run refuses.
    pub fn cell(&mut self, experiment: &Experiment, seed: u64) -> Result<String> {
        self.stage(experiment, seed, &Stage::default())
    }

    /// The method of a cell, given the output of the runs that it needs, and their keys.
    ///
    /// # Errors
    /// Whatever those runs refuse.
    pub fn method(&mut self, experiment: &Experiment, seed: u64) -> Result<(Box<dyn Method>, Vec<String>)> {
        let mut method = (experiment.method.info.build)(experiment.method.settings.clone())?;
        let mut needed = Vec::new();
        if let Some(prior) = &experiment.needed {
            let other = self.cell(prior, seed)?;
            method.provide(&self.finished[&other].adapter)?;
            needed.push(other);
        }
        Ok((method, needed))
    }

    /// Runs a cell that may be a stage of something larger, unless it is there already, and returns its key.
    ///
    /// # Errors
    /// Whatever the run refuses.
    pub fn stage(&mut self, experiment: &Experiment, seed: u64, stage: &Stage<'_>) -> Result<String> {
        let (method, needed) = self.method(experiment, seed)?;
        let records: Vec<RunRecord> =
            needed.iter().map(|key| self.finished[key].run.record.clone()).collect();
        let records: Vec<&RunRecord> = records.iter().collect();
        let name = experiment.method.info.name;
        let task = if stage.name.is_empty() { &experiment.task.name } else { &stage.name };
        let place = Path::new(task).join(name).join(format!("seed-{seed}"));
        let usual = self.out.join("adapters").join(&place);
        let (mut checkpoints, apart) = (self.out.join("checkpoints").join(&place), self.apart);
        let board = self.args.tensorboard.then(|| self.out.join("tensorboard"));
        let keeps = self.options.checkpoints.every != Every::Never;
        let (cells, found) = (self.cells.clone(), self.finder());
        let succeeded = self.finished.iter().filter(|(_, one)| one.run.record.status == Status::Success);
        let known: BTreeSet<String> = succeeded.map(|(key, _)| key.clone()).collect();
        let mut context = self.context(experiment, seed, stage, &usual)?;
        let what = cell_key(experiment, seed, stage, &needed);
        let cell = CellKey::new(&json!([surroundings(&context), what]));
        let key = cell.as_str().to_owned();
        if known.contains(&key) {
            return Ok(key);
        }
        let folder = cell.folder(&usual)?;
        if apart {
            checkpoints.set_file_name(folder.file_name().unwrap_or_default());
        }
        context.adapter_folder = &folder;
        let leaf = folder.file_name().unwrap_or_default();
        let board = board.map(|above| above.join(&place).with_file_name(leaf));
        let finished = match found(&cell) {
            Some((run, adapter)) => {
                if let Some(board) = &board {
                    Board::of_record(board, experiment.to_toml(), &run.record)?;
                }
                Finished { run, adapter, others: Vec::new(), folder: folder.clone() }
            }
            None => {
                context.checkpoint_folder = Some(checkpoints.clone());
                context.board_folder = board;
                let mut finished = run(&mut context, experiment, method, seed, &records)?;
                task.clone_into(&mut finished.run.record.task);
                if let Some(sequence) = &stage.sequence {
                    finished.run.record.sequence = Some(sequence(&finished)?);
                }
                cells.save(&cell, &mut finished.run, &finished.adapter)?;
                if keeps && finished.run.record.status == Status::Success {
                    checkpoint::remove(&checkpoints)?;
                }
                finished
            }
        };
        let stopped = finished.run.record.status != Status::Success;
        self.finished.insert(key.clone(), finished);
        self.leave_quantized(experiment, seed);
        if stopped { Err(Error::Interrupted) } else { Ok(key) }
    }

    /// Looks for a cell that is there already, and says so.
    pub fn finder(&self) -> impl Fn(&CellKey) -> Option<(Run, StateDict)> + use<> {
        let (cells, display, again) = (self.cells.clone(), self.display, self.args.again);
        move |key| {
            if again {
                return None;
            }
            match cells.find(key) {
                Ok(found) => {
                    if let Some((run, _)) = &found {
                        let RunRecord { task, method, seed, .. } = &run.record;
                        display.say(&format!("{task} · {method} · seed {seed}: there already"));
                    }
                    found
                }
                Err(error) => {
                    display.say(&format!("{error}; the cell runs again"));
                    None
                }
            }
        }
    }

    /// What was stored in 4 bits cannot be had back, and methods start from the weights as they were loaded.
    fn leave_quantized(&mut self, experiment: &Experiment, seed: u64) {
        if experiment.task.training.quantize.is_some() {
            self.sessions.remove(&session_key(&experiment.task, seed));
        }
    }

    /// Records that a cell failed; the sentence that says so is the last of [`Self::failures`] then.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub fn failed(&mut self, experiment: &Experiment, seed: u64, error: &Error) -> Result<()> {
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
        self.cells.record(&mut Run { record, evidence: Evidence::Items(Vec::new()) })?;
        Ok(())
    }

    /// Where a cell takes place.
    ///
    /// # Errors
    /// If its model or data cannot be loaded.
    pub fn context<'b>(
        &'b mut self,
        experiment: &Experiment,
        seed: u64,
        stage: &Stage<'b>,
        adapter_folder: &'b Path,
    ) -> Result<Context<'b>> {
        let session_key = session_key(&experiment.task, seed);
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
        for task in std::iter::once(&experiment.task).chain(stage.others.iter().copied()) {
            let key = task_key(experiment, task);
            if !self.prepared.contains_key(&key) {
                let prepared = prepare(task, session, &self.options, self.display)?;
                self.prepared.insert(key, prepared);
            }
        }
        let of = |task: &TaskConfig| &self.prepared[&task_key(experiment, task)];
        Ok(Context {
            session,
            prepared: stage.data.unwrap_or_else(|| of(&experiment.task)),
            others: stage.others.iter().map(|task| of(task)).collect(),
            start: stage.start.map(|key| &self.finished[key].adapter),
            options: &self.options,
            memory: &self.memory,
            display: self.display,
            adapter_folder,
            checkpoint_folder: None,
            board_folder: None,
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
    let task = Task::load_from(config.clone(), &options.data)?;
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

/// A task in the tokens of the model that `experiment` is about.
fn task_key(experiment: &Experiment, task: &TaskConfig) -> String {
    format!("{} {}", experiment.task.training.model, task.to_toml())
}

/// What decides the outcome of scoring the unadapted model, surroundings apart.
pub fn base_key(experiment: &Experiment, seed: u64) -> Value {
    let task = &experiment.task;
    let base = format!("{} {}", task.name, session_key(task, seed));
    json!({ "base": base, "suite": experiment.suite, "task": task })
}

/// What decides the outcome of a cell, surroundings apart; `needs` are the keys of the cells it starts from.
pub fn cell_key(experiment: &Experiment, seed: u64, stage: &Stage<'_>, needs: &[String]) -> Value {
    json!({
        "config": experiment.to_json(),
        "seed": seed,
        "stage": stage.name,
        "start": stage.start,
        "needs": needs,
    })
}

/// What decides which model is loaded: a head is drawn for each task and seed.
fn session_key(task: &TaskConfig, seed: u64) -> String {
    let head = task.head.as_ref().map(|head| format!("{} {head:?} {seed}", task.name));
    let training = &task.training;
    format!("{} {:?} {:?} {}", training.model, training.dtype, training.quantize, head.unwrap_or_default())
}

/// `runs/20251121-101500-lori`.
pub fn default_folder(what: &str) -> PathBuf {
    let now = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    Path::new("runs").join(format!("{now}-{what}"))
}

/// Finds out before any training whether results can be written.
///
/// # Errors
/// [`Error::Output`].
pub fn check_writable(folder: &Path) -> Result<()> {
    let failed = |source| Error::Output { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    // A name of its own: other processes may be finding out the same.
    let probe = tempfile::Builder::new().prefix(".writable-").tempfile_in(folder).map_err(failed)?;
    probe.close().map_err(failed)
}
