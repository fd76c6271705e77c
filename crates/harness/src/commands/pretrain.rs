//! `pretrain`: make the built-in model from generated text, by full fine-tuning of random weights.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use models::{Decoder, ModelConfig, ModelFiles};
use peft_core::{
    AdamWConfig, Adaptable, AsLoaded, Attachment, Clip, Length, Role, ScheduleKind, Seeds, Targets, device,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tasks::mini::{Corpus, PackedRows, PretrainData, probes, train_tokenizer};
use tasks::{Decoding, Reduction, Sequence, Strategy, TextTokenizer};
use tch::Kind;
use tempfile::TempDir;

use super::{print, use_threads};
use crate::cli::PretrainArgs;
use crate::feed::{Cut, step_data};
use crate::part::Part;
use crate::progress::{Display, Progress};
use crate::queue::check_writable;
use crate::session::{Text, kind_of, load_decoder};
use crate::solver::CausalLm;
use crate::train::{Feed, Flow, Observer, Settings, StepData, StepReport, train};
use crate::{Error, Result, interrupt};

/// A pretraining file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PretrainFile {
    /// `config.json` of the model, without what follows from the tokenizer.
    model: toml::Table,
    training: PretrainTraining,
    data: PretrainData,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PretrainTraining {
    /// Of the initialization.
    seed: u64,
    steps: u64,
    /// Rows of one step.
    rows: usize,
    lr: f64,
    betas: (f64, f64),
    weight_decay: f64,
    /// Roles that decay spares.
    no_decay: Vec<Role>,
    schedule: ScheduleKind,
    warmup: Length,
    clip: Clip,
    /// Kind of number the checkpoint is written in: `f32` or `bf16`.
    save_dtype: tasks::Dtype,
    /// Skills are probed every so many steps.
    probe_every: u64,
}

pub(super) fn execute(args: &PretrainArgs) -> Result<()> {
    use_threads(args.threads);
    let started = Instant::now();
    let config = std::fs::read_to_string(&args.config).map_err(|s| peft_core::Error::io(&args.config, s))?;
    let origin = args.config.display().to_string();
    let mut file: PretrainFile = toml::from_str(&config)
        .map_err(|source| peft_core::Error::Toml { origin: origin.clone(), source: Box::new(source) })?;
    file.data.check(&origin)?;
    file.training.steps = args.max_steps.unwrap_or(file.training.steps);
    check_writable(&args.out)?;
    let display = Display::choose(args.quiet);

    let tokenizer = train_tokenizer(&file.data)?;
    let decoder = fresh_decoder(&file, &tokenizer, args)?;
    let companions = Companions::new(&tokenizer, decoder.context())?;
    let text = Text::load(&companions.files)?;
    let mut learner = CausalLm::new(decoder, false);
    let outcome = pretrain(&file, &text, &mut learner, display)?;
    if outcome.stopped {
        return Err(Error::Interrupted);
    }
    let mut made = round(&mut learner, &companions, kind_of(file.training.save_dtype))?;
    let shares = probe(&made, &text, &file.data)?;
    report(&shares, &file.data, display);
    let below: Vec<String> = file
        .data
        .probes
        .bars
        .iter()
        .filter(|(skill, bar)| shares.get(&name(**skill)).is_some_and(|share| share < bar))
        .map(|(skill, bar)| format!("{} {:.2} < {bar}", name(*skill), shares[&name(*skill)]))
        .collect();
    if !below.is_empty() && !args.below_bars {
        return Err(Error::Failed(format!(
            "the model is not saved, its skills are below the bars: {}",
            below.join(", ")
        )));
    }

    made.decoder.save(&args.out, Some(&companions.files))?;
    write_record(&args.out, &config, &file, &outcome, &shares, started)?;
    print(&format!("{}: {} parameters", args.out.display(), made.decoder.count_parameters()));
    Ok(())
}

/// The files of the tokenizer, in a folder of their own that lives as long as this.
struct Companions {
    files: ModelFiles,
    folder: TempDir,
}

impl Companions {
    fn new(tokenizer: &TextTokenizer, context: i64) -> Result<Self> {
        let folder = temporary()?;
        for (name, content) in tokenizer.files(context as usize)? {
            let path = folder.path().join(name);
            std::fs::write(&path, content).map_err(|source| peft_core::Error::io(path, source))?;
        }
        Ok(Self { files: ModelFiles::Folder(folder.path().to_owned()), folder })
    }
}

fn temporary() -> Result<TempDir> {
    tempfile::tempdir().map_err(|source| peft_core::Error::io(std::env::temp_dir(), source).into())
}

/// What was trained, with every number rounded as the checkpoint has it: this is what is probed and saved.
fn round(learner: &mut CausalLm, companions: &Companions, kind: Kind) -> Result<CausalLm> {
    let whole = companions.folder.path().join("f32");
    learner.decoder.save(&whole, None)?;
    Ok(CausalLm::new(load_decoder(&whole, kind, learner.decoder.device())?, false))
}

fn fresh_decoder(file: &PretrainFile, tokenizer: &TextTokenizer, args: &PretrainArgs) -> Result<Decoder> {
    let mut config = file.model.clone();
    let id = |id: Option<u32>| toml::Value::Integer(id.map_or(0, i64::from));
    config.insert("vocab_size".to_owned(), toml::Value::Integer(tokenizer.vocab_size() as i64));
    config.insert("bos_token_id".to_owned(), id(tokenizer.bos()));
    config.insert("eos_token_id".to_owned(), id(tokenizer.eos()));
    config.insert("pad_token_id".to_owned(), id(Some(tokenizer.pad())));
    let serde_json::Value::Object(json) = json!(config) else { unreachable!("a table is an object") };
    let config = ModelConfig::parse(json)?;
    let seeds = Seeds::new(file.training.seed).child("init");
    Ok(Decoder::random(&config, &seeds, Kind::Float, device::parse(&args.device)?)?)
}

struct Outcome {
    losses: Vec<(u64, f64)>,
    probes: Vec<(u64, BTreeMap<String, f64>)>,
    tokens: u64,
    stopped: bool,
}

fn pretrain(file: &PretrainFile, text: &Text, learner: &mut CausalLm, display: Display) -> Result<Outcome> {
    let training = &file.training;
    let corpus = Corpus::new(&file.data.corpus);
    let mut feed = CorpusFeed {
        rows: PackedRows::new(&corpus, &text.tokenizer, file.data.row_length, 0)?,
        per_step: training.rows,
        pad: text.tokenizer.pad(),
    };
    let method = (methods::find("full")?.build)(toml::Table::new())?;
    let seeds = Seeds::new(training.seed);
    let mut attachment =
        Attachment::new(learner, "pretrain", method, &Targets::default(), &AsLoaded, &seeds)?;
    let settings = Settings {
        steps: training.steps,
        optimizer: AdamWConfig {
            lr: training.lr,
            betas: training.betas,
            weight_decay: training.weight_decay,
            weight_decay_by_role: training.no_decay.iter().map(|role| (*role, 0.0)).collect(),
            clip: training.clip,
            ..AdamWConfig::default()
        },
        schedule: training.schedule,
        warmup: training.warmup,
        seeds,
    };
    let mut watch = Watch {
        file,
        text,
        progress: display.start("pretrain", training.steps),
        display,
        window: Vec::new(),
        losses: Vec::new(),
        probes: Vec::new(),
        tokens: 0,
    };
    let trained = train(learner, &mut attachment, &mut feed, &settings, &mut watch)?;
    let Watch { progress, losses, probes, tokens, .. } = watch;
    progress.finish(&format!("loss {:.4}", losses.last().map_or(f64::NAN, |(_, loss)| *loss)));
    learner.activate(&attachment.active());
    Ok(Outcome { losses, probes, tokens, stopped: trained.stopped })
}

struct CorpusFeed<'a> {
    rows: PackedRows<'a>,
    per_step: usize,
    pad: u32,
}

impl Feed<Part> for CorpusFeed<'_> {
    fn next_step(&mut self) -> Result<StepData<Part>> {
        let rows = self.rows.by_ref().take(self.per_step).collect::<tasks::Result<Vec<_>>>()?;
        let sequences: Vec<Sequence> = rows
            .into_iter()
            .map(|row| {
                let labels =
                    std::iter::once(tasks::IGNORED).chain(row.ids[1..].iter().map(|&id| i64::from(id)));
                Sequence {
                    target: tasks::Target::Tokens(labels.collect()),
                    types: Vec::new(),
                    tokens: row.ids,
                }
            })
            .collect();
        let borrowed: Vec<&Sequence> = sequences.iter().collect();
        Ok(step_data(&borrowed, Cut::none(self.per_step), Reduction::TokenMean, self.pad))
    }

    fn restart(&mut self) {
        unreachable!("full fine-tuning has one phase")
    }
}

/// Losses are recorded as means over so many steps.
const WINDOW: usize = 50;

struct Watch<'a> {
    file: &'a PretrainFile,
    text: &'a Text,
    progress: Progress,
    display: Display,
    window: Vec<f64>,
    losses: Vec<(u64, f64)>,
    probes: Vec<(u64, BTreeMap<String, f64>)>,
    tokens: u64,
}

impl Observer<CausalLm> for Watch<'_> {
    fn step_done(&mut self, report: StepReport, learner: &mut CausalLm, _: &Attachment) -> Result<Flow> {
        let done = report.step + 1;
        self.tokens += report.tokens;
        self.window.push(report.loss);
        self.progress.step(report.tokens, &format!("loss {:.4}", report.loss));
        if self.window.len() == WINDOW {
            self.losses.push((done, self.window.iter().sum::<f64>() / WINDOW as f64));
            self.window.clear();
        }
        if self.file.training.probe_every > 0 && done.is_multiple_of(self.file.training.probe_every) {
            let shares = probe(learner, self.text, &self.file.data)?;
            self.display.say(&format!("step {done}:"));
            report_line(&shares, self.display);
            self.probes.push((done, shares));
        }
        Ok(if interrupt::asked() { Flow::Stop } else { Flow::Continue })
    }
}

/// The share of greedy continuations that are right, by skill.
fn probe(learner: &CausalLm, text: &Text, data: &PretrainData) -> Result<BTreeMap<String, f64>> {
    /// Longer than any expected continuation.
    const NEW_TOKENS: usize = 24;
    let stop = vec!["\n".to_owned()];
    let decoding = Decoding::new(Strategy::Greedy, NEW_TOKENS, stop);
    let mut shares = BTreeMap::new();
    for skill in tasks::mini::Skill::ALL {
        let asked = probes(skill, data.probes.seed, data.probes.items);
        let prompts = asked
            .iter()
            .map(|probe| {
                Ok(text.tokenizer.bos().into_iter().chain(text.tokenizer.encode(&probe.prompt)?).collect())
            })
            .collect::<Result<Vec<Vec<u32>>>>()?;
        let (seeds, at_once) = (Seeds::new(0), prompts.len().max(1));
        let answers =
            learner.generate(text, &decoding, &prompts, at_once, &seeds, &mut |_| interrupt::flow())?;
        let right = asked.iter().zip(&answers).filter(|(probe, answer)| probe.passes(&answer.text)).count();
        shares.insert(name(skill), right as f64 / asked.len() as f64);
    }
    Ok(shares)
}

fn report(shares: &BTreeMap<String, f64>, data: &PretrainData, display: Display) {
    for (skill, share) in shares {
        let bar = data.probes.bars.iter().find(|(s, _)| name(**s) == *skill).map(|(_, bar)| *bar);
        let bar = bar.map(|bar| format!(" (bar {bar:.2})")).unwrap_or_default();
        display.say(&format!("  {skill:<12} {share:.2}{bar}"));
    }
}

fn report_line(shares: &BTreeMap<String, f64>, display: Display) {
    let parts: Vec<String> = shares.iter().map(|(skill, share)| format!("{skill} {share:.2}")).collect();
    display.say(&format!("  {}", parts.join(", ")));
}

fn name(skill: tasks::mini::Skill) -> String {
    serde_json::to_value(skill).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// How the model was made, beside it.
fn write_record(
    out: &Path,
    config: &str,
    file: &PretrainFile,
    outcome: &Outcome,
    shares: &BTreeMap<String, f64>,
    started: Instant,
) -> Result<()> {
    let path = out.join("model.safetensors");
    let bytes = std::fs::read(&path).map_err(|source| peft_core::Error::io(&path, source))?;
    let record = json!({
        "made_by": format!("harness {} pretrain", env!("CARGO_PKG_VERSION")),
        "config": config,
        "steps": file.training.steps,
        "tokens": outcome.tokens,
        "seconds": started.elapsed().as_secs(),
        "threads": tch::get_num_threads(),
        "loss": outcome.losses,
        "probes": outcome.probes,
        "final_probes": shares,
        "model_blake3": blake3::hash(&bytes).to_hex().to_string(),
    });
    let path = out.join("pretrain.json");
    let text = serde_json::to_string_pretty(&record).expect("a record prints") + "\n";
    std::fs::write(&path, text).map_err(|source| peft_core::Error::io(path, source).into())
}
