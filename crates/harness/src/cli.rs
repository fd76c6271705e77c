//! The command line.

mod adapters;
mod checks;
mod comparisons;
mod records;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tasks::{Permission, Place, TaskConfig};

use crate::Result;
use crate::config::read_task;

pub use adapters::{
    DoctorArgs, ExportArgs, FidelityArgs, InterferenceArgs, MergeArgs, MergeIntoBaseArgs, MergingArgs, Vote,
};
pub use checks::{CheckArgs, ClaimsArgs, ParityArgs};
pub use comparisons::{ContinualArgs, PlanArgs, Scale, SweepArgs, TableArgs, TuneArgs};
pub use records::{GateArgs, ReportArgs, RescoreArgs};

/// Implements and compares parameter-efficient fine-tuning methods: every method through the same loop, on the same
/// data, with an interval on every number.
///
/// Without a command, `run` is meant: `harness --method lori` trains and scores LoRI on the built-in suite.
#[derive(Debug, Parser)]
#[command(
    name = "harness",
    version,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    args_override_self = true
)]
#[command(
    after_help = "Through cargo, options follow a `--`: cargo run -p harness -- --method lori, or: cargo harness --method lori"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of `run`.
    #[command(flatten)]
    pub run: RunArgs,
    /// Everything that can be said about an error, with libtorch's own trace.
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train and score methods on tasks (what happens without a command).
    Run(RunArgs),
    /// Let one adapter learn tasks one after another, and say what it remembers.
    Continual(ContinualArgs),
    /// Find each method's learning rate with one budget for all, and compare what was chosen with the defaults.
    Tune(TuneArgs),
    /// Run methods × tasks × seeds × settings from one file, all of it or a shard.
    Sweep(SweepArgs),
    /// Say what a run would do: modules adapted, trainable parameters, predicted memory and time, and which differences it
    /// could tell apart.
    Plan(PlanArgs),
    /// Print the whole effective configuration of a run.
    Show(RunArgs),
    /// List what there is.
    List {
        /// Of what.
        what: Listing,
    },
    /// Score a model, or a model with an adapter, on tasks.
    Eval(EvalArgs),
    /// Continue a prompt.
    Generate(GenerateArgs),
    /// Make the built-in model from generated text.
    Pretrain(PretrainArgs),
    /// Combine several adapters into one, or into a model.
    Merge(MergeArgs),
    /// Say how far adapters get in each other's way, before they are merged.
    Interference(InterferenceArgs),
    /// Say what is lost when an adapter is merged into the weights, cast, quantized, or merged with others.
    Fidelity(FidelityArgs),
    /// Write a model with an adapter merged into its weights, in Hugging Face layout.
    MergeIntoBase(MergeIntoBaseArgs),
    /// Measure what 4 bits lose of a model's weights, and how much LoftQ and QPiSSA bring back.
    QuantizationError(QuantizationErrorArgs),
    /// Report any set of records: tables, plots, and a page that needs no network.
    Report(ReportArgs),
    /// Score stored answers again by the rules that a task has today, without running anything.
    Rescore(RescoreArgs),
    /// Compare new records with a baseline: fails when a score fell or training got slower, and says which.
    Gate(GateArgs),
    /// Run a small set of cells and compare this tree with a baseline: scores, losses, bits, sizes, work and speed. For CI.
    Check(CheckArgs),
    /// Write an adapter in a form that another program reads, or say why there is none.
    Export(ExportArgs),
    /// Find what would make an adapter fail in silence.
    Doctor(DoctorArgs),
    /// Check the central claim of each paper, at a size that runs here.
    Claims(ClaimsArgs),
    /// Run a paper's table, at its size or at that of the built-in suite, and print ours beside the paper's.
    Table(TableArgs),
    /// Run golden cases made with the reference implementations.
    Parity(ParityArgs),
}

/// Things to list.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Listing {
    /// Methods, with what can be done with their adapters.
    Methods,
    /// Tasks and suites.
    Tasks,
    /// Models that can be named.
    Models,
    /// Comparisons in one file, for `--scenario`.
    Scenarios,
    /// Grids of settings in one file, for `sweep`.
    Sweeps,
}

/// Where a model comes from and how it is held.
#[derive(Clone, Debug, Default, Args)]
pub struct ModelArgs {
    /// `builtin:mini`, a folder in Hugging Face layout, or `hf:OWNER/NAME[@REVISION]` [default: what the task says].
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Kind of number the base is held in: `f32` or `bf16` [default: what the task says].
    #[arg(long, value_name = "DTYPE")]
    pub dtype: Option<String>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Threads of one operation [default: one for each core]. Sums come out in another order, so bits may differ.
    #[arg(long, value_name = "N")]
    pub threads: Option<u32>,
}

impl ModelArgs {
    /// The model named here, or else the one that something else names, or else the built-in one.
    pub fn name_or<'a>(&'a self, stated: Option<&'a str>) -> &'a str {
        self.model.as_deref().or(stated).unwrap_or("builtin:mini")
    }
}

/// How the frozen layers of a model are stored.
#[derive(Clone, Debug, Default, Args)]
pub struct StorageArgs {
    /// Store the frozen linear layers in 4 bits: `nf4` (QLoRA), `nf4-double` with 8-bit scales, or `none` [default: what
    /// the task, or the adapter, says].
    #[arg(long, value_name = "FORMAT")]
    pub quantize: Option<String>,
}

/// What tasks need besides their files.
#[derive(Clone, Debug, Default, Args)]
pub struct TaskArgs {
    /// Where the files of tasks are: a folder, or a repository of the hub as `hf:OWNER/NAME[@REVISION]` [default: the
    /// repository that the task's file names].
    #[arg(long, value_name = "DIR")]
    pub data: Option<Place>,
    /// Lay a preset of the task files over them: `reference` does as the paper's own code does.
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
    /// Run programs that a model wrote even where nothing keeps them from the network and from your files.
    #[arg(long)]
    pub allow_unsafe_code_execution: bool,
}

impl TaskArgs {
    /// A provided task by name, or a task file, with the preset laid over.
    ///
    /// # Errors
    /// For an unknown name or preset, or a file that does not parse.
    pub fn read(&self, name: &str) -> Result<TaskConfig> {
        let task = read_task(name)?;
        Ok(self.preset.as_deref().map_or(Ok(task.clone()), |preset| task.preset(preset))?)
    }

    /// Where files are looked for.
    pub fn place(&self) -> Place {
        self.data.clone().unwrap_or_default()
    }

    /// What generated code may do.
    pub fn permission(&self) -> Permission {
        if self.allow_unsafe_code_execution { Permission::Unsafe } else { Permission::Isolated }
    }
}

/// Options of `run`, `plan` and `show`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Methods, separated by commas: exact names, families (`lori` is `lori-d` and `lori-s`), `all`, or
    /// `every` (with variations such as LoRA+).
    #[arg(long, value_delimiter = ',', value_name = "METHOD,…")]
    pub method: Vec<String>,
    /// Suite of tasks: `mini`, or a file.
    #[arg(long, default_value = "mini", value_name = "SUITE")]
    pub suite: String,
    /// A comparison in one file, such as `merge`: methods, tasks, seeds and settings, where they are not given here, and what
    /// is done with the adapters. `harness list scenarios` lists them.
    #[arg(long, value_name = "SCENARIO")]
    pub scenario: Option<String>,
    /// Only these tasks: names of the suite's or of provided tasks, or files.
    #[arg(long, value_delimiter = ',', value_name = "TASK,…")]
    pub task: Vec<String>,
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// How its frozen layers are stored.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// What tasks need besides their files.
    #[command(flatten)]
    pub tasks: TaskArgs,
    /// First seed.
    #[arg(long, default_value_t = 0, value_name = "S")]
    pub seed: u64,
    /// Number of seeds, from the first one on [default: 1, or what the scenario says].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: Option<u64>,
    /// Settings laid over those of suite and methods: a file with `[task]` and `[method]`.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting: `method.rank=8`, `method.optimizer.lr=1e-3`, `task.training.steps=100`; repeatable.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Optimizer steps of every run.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_steps: Option<u64>,
    /// Sequences of one forward pass; a step sums over them. The result does not change.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub micro_batch: Option<u64>,
    /// Let short sequences share a row of `max_length` tokens, where none sees another: less padding. The result does not
    /// change, except where dropout falls.
    #[arg(long)]
    pub packing: bool,
    /// Recompute activations in backward instead of keeping them. The result does not change.
    #[arg(long)]
    pub gradient_checkpointing: bool,
    /// Folder for records and adapters [default: a new one under `runs/`]. Runs that are finished there, with the same
    /// settings, model and data, are not repeated, and one that was cut off goes on from its last checkpoint.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Repeat finished runs nevertheless.
    #[arg(long)]
    pub again: bool,
    /// Write a checkpoint after so many optimizer steps, after the last one, and on Ctrl-C; 0: neither write nor read any
    /// [default: once a minute, less often where writing would take more than 1 % of the time].
    #[arg(long, value_name = "STEPS")]
    pub checkpoint_every: Option<u64>,
    /// Checkpoints of a run that are kept, the newest; they are removed when it is finished.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub keep_checkpoints: u64,
    /// Write event files for TensorBoard while runs train: `tensorboard --logdir OUT/tensorboard`.
    #[arg(long)]
    pub tensorboard: bool,
    /// Print nothing but the table.
    #[arg(long)]
    pub quiet: bool,
}

impl RunArgs {
    /// Number of seeds.
    pub fn seed_count(&self) -> u64 {
        self.seeds.unwrap_or(1)
    }

    /// The seeds.
    pub fn all_seeds(&self) -> std::ops::Range<u64> {
        self.seed..self.seed + self.seed_count()
    }

    /// With what a file says where the command line says nothing.
    #[must_use]
    pub fn within(&self, suite: &str, methods: &[String], tasks: &[String], seeds: u64) -> Self {
        let or = |given: &[String], said: &[String]| if given.is_empty() { said } else { given }.to_vec();
        Self {
            method: or(&self.method, methods),
            task: or(&self.task, tasks),
            suite: suite.to_owned(),
            seeds: self.seeds.or(Some(seeds)),
            ..self.clone()
        }
    }
}

/// Options of `eval`.
#[derive(Clone, Debug, Args)]
pub struct EvalArgs {
    /// Adapter folder (PEFT format).
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// Tasks: provided names, or files.
    #[arg(long, value_delimiter = ',', value_name = "TASK,…")]
    pub task: Vec<String>,
    /// Bits per character of this text: a JSON list of documents, or plain text with one document a line or
    /// `<|endoftext|>` between them.
    #[arg(long, value_name = "FILE")]
    pub text: Option<PathBuf>,
    /// At most so many documents of the text.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// How its frozen layers are stored.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// What tasks need besides their files.
    #[command(flatten)]
    pub tasks: TaskArgs,
    /// Prompts answered at a time. Scores do not depend on it.
    #[arg(long, default_value_t = 64)]
    pub batch_size: usize,
    /// Folder for `summary.json`.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print nothing but the table.
    #[arg(long)]
    pub quiet: bool,
}

/// Options of `generate`.
#[derive(Clone, Debug, Args)]
pub struct GenerateArgs {
    /// The text to continue.
    pub prompt: String,
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// How its frozen layers are stored.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// Adapter folder (PEFT format).
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// At most so many new tokens.
    #[arg(long, default_value_t = 128)]
    pub max_new_tokens: usize,
    /// 0 is greedy.
    #[arg(long, default_value_t = 0.0)]
    pub temperature: f64,
    /// Probability mass of the nucleus.
    #[arg(long, default_value_t = 1.0)]
    pub top_p: f64,
    /// Stop before this text; repeatable.
    #[arg(long)]
    pub stop: Vec<String>,
    /// Of sampling.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// Options of `pretrain`.
#[derive(Clone, Debug, Args)]
pub struct PretrainArgs {
    /// A pretraining file, such as `configs/pretrain/mini.toml`.
    pub config: PathBuf,
    /// Folder for the model and the record of how it was made.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Optimizer steps instead of the file's.
    #[arg(long, value_name = "N")]
    pub max_steps: Option<u64>,
    /// Of the file's.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Threads of one operation.
    #[arg(long, value_name = "N")]
    pub threads: Option<u32>,
    /// Save even if the skills are below the bars of the file.
    #[arg(long)]
    pub below_bars: bool,
    /// Print nothing but the result.
    #[arg(long)]
    pub quiet: bool,
}

/// Options of `quantization-error`.
#[derive(Clone, Debug, Args)]
pub struct QuantizationErrorArgs {
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// How its frozen layers are stored.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// Rank of the factors.
    #[arg(long, default_value_t = 16, value_name = "R", value_parser = clap::value_parser!(i64).range(1..))]
    pub rank: i64,
    /// Rounds of storing and factorizing.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 5], value_name = "T,…", value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: Vec<u32>,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// No progress.
    #[arg(long)]
    pub quiet: bool,
}
