//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::export::Reader;

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
    /// Say what a run would do: modules adapted, trainable parameters, predicted memory and time.
    Plan(RunArgs),
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
    /// Combine several adapters into one.
    Merge(MergeArgs),
    /// Write a model with an adapter merged into its weights, in Hugging Face layout.
    MergeIntoBase(MergeIntoBaseArgs),
    /// Measure what 4 bits lose of a model's weights, and how much LoftQ and QPiSSA bring back.
    QuantizationError(QuantizationErrorArgs),
    /// Report any set of records: tables, plots, and a page that needs no network.
    Report(ReportArgs),
    /// Compare new records with a baseline: fails when a score fell or training got slower, and says which.
    Gate(GateArgs),
    /// Write an adapter in a form that another program reads, or say why there is none.
    Export(ExportArgs),
    /// Find what would make an adapter fail in silence.
    Doctor(DoctorArgs),
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
    /// Store the frozen linear layers in 4 bits: `nf4` (QLoRA), or `nf4-double` with 8-bit scales [default: what the
    /// task, or the adapter, says].
    #[arg(long, value_name = "FORMAT")]
    pub quantize: Option<String>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Threads of one operation [default: one for each core]. Sums come out in another order, so bits may differ.
    #[arg(long, value_name = "N")]
    pub threads: Option<u32>,
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
    /// Only these tasks: names of the suite's or of provided tasks, or files.
    #[arg(long, value_delimiter = ',', value_name = "TASK,…")]
    pub task: Vec<String>,
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Folder of data files, for tasks that read files.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// First seed.
    #[arg(long, default_value_t = 0, value_name = "S")]
    pub seed: u64,
    /// Number of seeds, from the first one on.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
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
    /// Recompute activations in backward instead of keeping them. The result does not change.
    #[arg(long)]
    pub gradient_checkpointing: bool,
    /// Folder for records and adapters [default: a new one under `runs/`].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print nothing but the table.
    #[arg(long)]
    pub quiet: bool,
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
    /// Folder of data files.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
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

/// Options of `merge`.
#[derive(Clone, Debug, Args)]
pub struct MergeArgs {
    /// Adapter folders (PEFT format, plain LoRA layout).
    #[arg(required = true, value_name = "DIR")]
    pub adapters: Vec<PathBuf>,
    /// `cat` (the exact weighted sum), `linear`, `magnitude_prune`, `ties`, `dare_linear`, `dare_ties`, `svd`, or one of the
    /// pruning ones with `_svd`: on the updates instead of the factors.
    #[arg(long, default_value = "cat", value_name = "WAY")]
    pub how: String,
    /// A weight for each adapter [default: 1 each].
    #[arg(long, value_delimiter = ',', value_name = "W,…", allow_negative_numbers = true)]
    pub weights: Vec<f64>,
    /// Share of the entries that pruning keeps.
    #[arg(long, default_value_t = 0.7, value_name = "SHARE")]
    pub density: f64,
    /// How TIES elects the sign of an entry: by the sum of values, or of signs.
    #[arg(long, default_value = "total", value_name = "BY")]
    pub election: Vote,
    /// Rank after truncation [default: that of the largest adapter].
    #[arg(long, value_name = "R")]
    pub rank: Option<i64>,
    /// Of random pruning.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Folder for the merged adapter.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// An election of signs.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Vote {
    /// By the sum of the values.
    Total,
    /// By the sum of the signs.
    Frequency,
}

/// Options of `merge-into-base`.
#[derive(Clone, Debug, Args)]
pub struct MergeIntoBaseArgs {
    /// Adapter folder (PEFT format).
    #[arg(long, value_name = "DIR")]
    pub adapter: PathBuf,
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Folder for the merged model.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Options of `quantization-error`.
#[derive(Clone, Debug, Args)]
pub struct QuantizationErrorArgs {
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
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

/// Options of `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// Folders of runs or of records, records, or results of PEFT's `method_comparison`.
    #[arg(required = true, value_name = "PATH")]
    pub records: Vec<PathBuf>,
    /// Folder for `report.html`, tables and plots [default: a new one under `runs/`].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Also write the results as files of PEFT's `method_comparison` to this folder.
    #[arg(long, value_name = "DIR")]
    pub peft: Option<PathBuf>,
    /// Coverage of the intervals; tests decide at what is left.
    #[arg(long, default_value_t = 0.95, value_name = "LEVEL", value_parser = confidence)]
    pub confidence: f64,
    /// Also print the tests between all pairs of methods.
    #[arg(long)]
    pub tests: bool,
}

/// Options of `gate`.
#[derive(Clone, Debug, Args)]
pub struct GateArgs {
    /// Folder of runs or of records to compare with.
    #[arg(value_name = "BASELINE")]
    pub baseline: PathBuf,
    /// Folder of the new ones.
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
    /// How many times slower a training step may be.
    #[arg(long, default_value_t = compare::gate::Bounds::default().slowdown, value_name = "FACTOR", value_parser = factor)]
    pub max_slowdown: f64,
    /// Coverage of the intervals; tests decide at what is left.
    #[arg(long, default_value_t = 0.95, value_name = "LEVEL", value_parser = confidence)]
    pub confidence: f64,
}

fn confidence(text: &str) -> Result<f64, String> {
    let level: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (0.5..1.0).contains(&level) {
        Ok(level)
    } else {
        Err("expected a number from 0.5 up to, but below, 1".to_owned())
    }
}

fn factor(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if factor.is_finite() && factor > 0.0 { Ok(factor) } else { Err("expected a number above 0".to_owned()) }
}

/// Options of `export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// Adapter folder (PEFT format).
    pub adapter: PathBuf,
    /// The program.
    #[arg(long = "for", value_name = "PROGRAM")]
    pub reader: Reader,
    /// Folder for the adapter in that form.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The model that the adapter was made for [default: the one it names].
    #[command(flatten)]
    pub model: ModelArgs,
}

/// Options of `doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Adapter folder (PEFT format).
    pub adapter: PathBuf,
    /// The model to try it on; without `--model` only the files are looked at.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Print JSON instead of lines.
    #[arg(long)]
    pub json: bool,
}

/// Options of `parity`.
#[derive(Clone, Debug, Args)]
pub struct ParityArgs {
    /// Case folders, or folders of case folders.
    #[arg(required = true, value_name = "DIR")]
    pub cases: Vec<PathBuf>,
    /// Print JSON instead of lines.
    #[arg(long)]
    pub json: bool,
    /// Write the trained adapter of the (one) case here, in PEFT format.
    #[arg(long, value_name = "OUT")]
    pub save_adapter: Option<PathBuf>,
}
