use std::path::Path;

use peft_core::{MethodInfo, Modules, Targets};
use serde_json::{Value, json};
use tasks::{Dtype, Permission, Place, Quantization, TaskConfig};

use super::{Assignment, MethodConfig, Overlay, Scenario, Suite, method_file, suite_file};
use crate::checkpoint::{Every, Keeping};
use crate::cli::{RunArgs, StorageArgs};
use crate::{Error, Result};

/// Everything about a run that is not its method, task or seed, and that its result does not depend on.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Where data files are.
    pub data: Place,
    /// What generated code may do.
    pub permission: Permission,
    /// Sequences of one forward pass.
    pub micro_batch: Option<usize>,
    /// Whether several sequences share a row.
    pub packing: bool,
    /// Whether activations are recomputed in backward.
    pub gradient_checkpointing: bool,
    /// When checkpoints are written, and how many are kept.
    pub checkpoints: Keeping,
}

impl RunOptions {
    /// As the command line says.
    pub fn new(args: &RunArgs) -> Self {
        Self {
            data: args.tasks.place(),
            permission: args.tasks.permission(),
            micro_batch: args.micro_batch.map(|n| n as usize),
            packing: args.packing,
            gradient_checkpointing: args.gradient_checkpointing,
            checkpoints: Keeping {
                every: Every::new(args.checkpoint_every),
                keep: args.keep_checkpoints as usize,
            },
        }
    }
}

/// One cell of a comparison: a method on a task, for all seeds.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The suite it belongs to, if it is run as part of one.
    pub suite: Option<String>,
    /// The task, everything laid over.
    pub task: TaskConfig,
    /// The method, everything laid over.
    pub method: MethodConfig,
    /// The run of another method on the same task whose output this one starts from.
    pub needed: Option<Box<Experiment>>,
}

impl Experiment {
    /// The whole effective configuration.
    pub fn to_json(&self) -> Value {
        json!({
            "suite": self.suite,
            "task": self.task,
            "method": { "name": self.method.info.name, "settings": self.method.to_table() },
        })
    }

    /// The whole effective configuration as a `--config` file would say it.
    pub fn to_toml(&self) -> String {
        let mut method = toml::Table::new();
        method.insert(self.method.info.name.to_owned(), toml::Value::Table(self.method.to_table()));
        let mut root = toml::Table::new();
        let task = toml::Table::try_from(&self.task).expect("a task is a table");
        root.insert("task".to_owned(), toml::Value::Table(task));
        root.insert("methods".to_owned(), toml::Value::Table(method));
        toml::to_string(&root).expect("tables print")
    }

    /// Which layers are adapted.
    pub fn targets(&self) -> Targets {
        let modules = match &self.task.training.targets {
            tasks::Targets::Names(names) => Modules::Names(names.clone()),
            tasks::Targets::Pattern(pattern) if pattern == "all-linear" => Modules::AllLinear,
            tasks::Targets::Pattern(pattern) => Modules::Regex(pattern.clone()),
        };
        Targets { modules, ..Targets::default() }
    }
}

/// The layers of settings of a command line, weakest first.
struct Layers {
    suite: Option<Suite>,
    overlays: Vec<Overlay>,
}

impl Layers {
    fn read(args: &RunArgs, above_suite: &[Overlay]) -> Result<(Self, Vec<TaskConfig>)> {
        let suite = read_suite(&args.suite)?;
        let names = if args.task.is_empty() { suite.tasks.clone() } else { args.task.clone() };
        let tasks = names.iter().map(|name| args.tasks.read(name)).collect::<Result<Vec<_>>>()?;
        // A task from elsewhere is not judged by the suite's settings.
        let suite = tasks.iter().all(|task| suite.tasks.contains(&task.name)).then_some(suite);
        let mut overlays: Vec<Overlay> = suite.iter().map(|suite| suite.settings.clone()).collect();
        if let Some(name) = &args.scenario {
            overlays.push(Scenario::read(name)?.settings);
        }
        overlays.extend_from_slice(above_suite);
        if let Some(path) = &args.config {
            let text = std::fs::read_to_string(path).map_err(|source| peft_core::Error::io(path, source))?;
            overlays.push(Overlay::parse(&text, &path.display().to_string())?);
        }
        let assignments = args.set.iter().map(|text| Assignment::parse(text)).collect::<Result<Vec<_>>>()?;
        overlays.push(Overlay::from_assignments(&assignments)?);
        Ok((Self { suite, overlays }, tasks))
    }

    fn task(&self, task: &TaskConfig, args: &RunArgs) -> Result<TaskConfig> {
        let mut task =
            self.overlays.iter().try_fold(task.clone(), |task, overlay| overlay.over_task(&task))?;
        let training = &mut task.training;
        if let Some(steps) = args.max_steps {
            (training.steps, training.epochs) = (Some(steps), None);
        }
        if let Some(model) = &args.model.model {
            training.model.clone_from(model);
        }
        if let Some(dtype) = &args.model.dtype {
            training.dtype = parse_dtype(dtype)?;
        }
        training.quantize = storage_or(&args.storage, training.quantize)?;
        Ok(task)
    }

    fn method(&self, info: &'static MethodInfo, task: &str) -> Result<MethodConfig> {
        let origin = format!("configs/methods/{}.toml", info.name);
        let mut settings: toml::Table = method_file(info.name)
            .parse()
            .map_err(|source: toml::de::Error| peft_core::Error::Toml { origin, source: Box::new(source) })?;
        for overlay in &self.overlays {
            overlay.over_method(&mut settings, info.name, task);
        }
        MethodConfig::new(info, settings).map_err(|error| match error {
            Error::Core(error) => self.locate(error),
            other => other,
        })
    }

    /// `method` on `task`, with the runs that it needs.
    fn experiment(&self, method: MethodConfig, task: &TaskConfig) -> Result<Experiment> {
        let needed = match (method.info.build)(method.settings.clone())?.needs() {
            None => None,
            Some(need) => {
                let mut other = self.method(methods::find(need.method)?, &task.name)?;
                other.settings.extend(need.settings);
                other.settings = (other.info.resolve)(other.settings)?;
                Some(Box::new(self.experiment(other, task)?))
            }
        };
        let suite = self.suite.as_ref().map(|suite| suite.name.clone());
        Ok(Experiment { suite, task: task.clone(), method, needed })
    }

    /// Says in which layer the entry stands that `error` speaks of.
    fn locate(&self, error: peft_core::Error) -> Error {
        let mentioned = match &error {
            peft_core::Error::Unknown { name, .. } => name.clone(),
            peft_core::Error::Config { field, .. } => field.clone(),
            _ => return error.into(),
        };
        match self.overlays.iter().rev().find(|overlay| overlay.mentions(&mentioned)) {
            Some(overlay) => overlay.locate_error(error),
            None => error.into(),
        }
    }
}

/// All cells that a command line asks for: task by task, method by method.
///
/// # Errors
/// For anything misspelt, before anything is loaded.
pub fn resolve(args: &RunArgs) -> Result<Vec<Experiment>> {
    resolve_with(args, &[])
}

/// The same with `above_suite` laid over suite and scenario, below `--config`, `--set` and flags.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_with(args: &RunArgs, above_suite: &[Overlay]) -> Result<Vec<Experiment>> {
    if args.method.is_empty() {
        return Err(Error::Usage(
            "no method is given: `--method lori`, or `harness list methods`".to_owned(),
        ));
    }
    let mut infos: Vec<&'static MethodInfo> = Vec::new();
    for word in &args.method {
        for info in methods::select(word)? {
            if !infos.iter().any(|known| known.name == info.name) {
                infos.push(info);
            }
        }
    }
    let (layers, tasks) = Layers::read(args, above_suite)?;
    let mut experiments = Vec::new();
    for task in &tasks {
        let task = layers.task(task, args)?;
        for info in &infos {
            experiments.push(layers.experiment(layers.method(info, &task.name)?, &task)?);
        }
    }
    Ok(experiments)
}

fn read_suite(name: &str) -> Result<Suite> {
    let path = Path::new(name);
    if path.extension().is_some_and(|extension| extension == "toml") {
        let text = std::fs::read_to_string(path).map_err(|source| peft_core::Error::io(path, source))?;
        return Suite::parse(&text, name);
    }
    Suite::parse(suite_file(name)?, &format!("configs/suites/{name}.toml"))
}

/// A provided task by name, or a task file.
///
/// # Errors
/// For an unknown name or a file that does not parse.
pub fn read_task(name: &str) -> Result<TaskConfig> {
    let path = Path::new(name);
    if path.extension().is_some_and(|extension| extension == "toml") {
        let text = std::fs::read_to_string(path).map_err(|source| peft_core::Error::io(path, source))?;
        return Ok(TaskConfig::parse(&text, name)?);
    }
    Ok(tasks::provided(name)?)
}

/// What the command line says of the storage, or else `default`.
///
/// # Errors
/// For a word that means no storage.
pub fn storage_or(args: &StorageArgs, default: Option<Quantization>) -> Result<Option<Quantization>> {
    args.quantize.as_deref().map_or(Ok(default), parse_quantization)
}

/// `nf4`, `nf4-double` or `none`.
///
/// # Errors
/// For another word.
pub fn parse_quantization(text: &str) -> Result<Option<Quantization>> {
    match text {
        "none" => Ok(None),
        "nf4" => Ok(Some(Quantization::Nf4)),
        "nf4-double" => Ok(Some(Quantization::Nf4Double)),
        _ => {
            let reason = "expected `nf4`, `nf4-double` or `none`";
            Err(peft_core::Error::config("quantize", text, reason).into())
        }
    }
}

/// `f32` or `bf16`.
///
/// # Errors
/// For another word.
pub fn parse_dtype(text: &str) -> Result<Dtype> {
    match text {
        "f32" | "float32" => Ok(Dtype::F32),
        "bf16" | "bfloat16" => Ok(Dtype::Bf16),
        _ => Err(peft_core::Error::config("dtype", text, "expected `f32` or `bf16`").into()),
    }
}
