//! `fidelity`: what merging, casting and quantizing make of an adapted model.

use std::path::{Path, PathBuf};

use compare::table::{TerminalStyle, listing};
use compare::{Evidence, Run, RunRecord, Status};
use jiff::Timestamp;
use merging::{Contribution, Recipe, Updates, merge};
use models::{Builtin, ModelSource};
use peft_core::peft_file::AdapterFile;
use peft_core::{Adaptable, AsLoaded, Seeds};
use serde_json::{Value, json};
use tasks::{Decoding, Split, Strategy, Task};

use super::interference::short;
use super::merge::{base_of, updates_of};
use super::run::table;
use super::{print, use_threads};
use crate::adapter::{attach_over, method_of, quantization_of};
use crate::cli::FidelityArgs;
use crate::evaluate::{BATCH_SIZE, Examiner};
use crate::fidelity::{Drift, Form, Held, Reference, load};
use crate::progress::Display;
use crate::queue::check_writable;
use crate::session::{Session, Text};
use crate::solver::{CausalLm, Solver};
use crate::{Error, Result, interrupt, record};

/// One row: an adapter held in one way.
struct Row {
    adapter: String,
    form: String,
    drift: Drift,
}

/// What all rows share.
struct Bench<'a> {
    args: &'a FidelityArgs,
    session: Session,
    base: &'a str,
    tasks: Vec<Task>,
    display: Display,
    rows: Vec<Row>,
    runs: Vec<Run>,
}

pub(super) fn execute(args: &FidelityArgs) -> Result<()> {
    use_threads(args.model.threads);
    if let Some(dtype) = &args.model.dtype {
        return Err(Error::Usage(format!("`--dtype {dtype}`: every kind of number is tried")));
    }
    let recipe = args.merging.recipe(None)?;
    let weights = args.merging.weights_of(args.adapters.len())?;
    if let Some(out) = &args.out {
        check_writable(out)?;
    }
    let tasks = args.task.iter().map(|name| {
        let task = Task::load_from(args.tasks.read(name)?, &args.tasks.place())?;
        task.require(Split::Test)?;
        Ok(task)
    });
    let tasks = tasks.collect::<Result<Vec<_>>>()?;
    let read = |folder: &PathBuf| Ok(AdapterFile::read(folder)?);
    let files = args.adapters.iter().map(read).collect::<Result<Vec<_>>>()?;
    merging::check_bases(&files)?;
    let base = base_of(&files[0], &args.model);
    let session = Session::open(&args.model, base)?;
    let display = Display::choose(args.quiet);
    let mut bench = Bench { args, session, base, tasks, display, rows: Vec::new(), runs: Vec::new() };
    for file in &files {
        // Once here: a form that is cast differs from every base.
        let (attachment, ..) = attach_over(&mut bench.session.learner, "checked", file, &AsLoaded)?;
        attachment.detach(&mut bench.session.learner);
    }
    let names: Vec<String> = args.adapters.iter().map(|folder| short(folder, &args.adapters)).collect();
    let together = if files.len() > 1 { Some(bench.together(&files, &recipe, &weights)?) } else { None };
    for (index, (file, name)) in files.iter().zip(&names).enumerate() {
        bench.adapter(file, name, together.as_ref(), index as u64)?;
    }
    bench.report()
}

impl Bench<'_> {
    /// All adapters in one model, in a folder.
    fn together(
        &mut self,
        files: &[AdapterFile],
        recipe: &Recipe,
        weights: &[f64],
    ) -> Result<tempfile::TempDir> {
        let args = self.args;
        let all = files.iter().map(|file| updates_of(file, &args.model)).collect::<Result<Vec<Updates>>>()?;
        let contributions: Vec<_> =
            all.iter().zip(weights).map(|(updates, &weight)| Contribution { updates, weight }).collect();
        let merged = merge(&contributions, &recipe.whole(), &Seeds::new(args.merging.seed))?;
        let learner = &mut self.session.learner;
        let attachment = merging::attach(learner, "together", merged, &AsLoaded)?;
        learner.activate(&attachment.active());
        let folder = temporary()?;
        learner.decoder.save(folder.path(), Some(&self.session.files))?;
        attachment.detach(learner);
        Ok(folder)
    }

    /// Every way to hold one adapter, against its slot.
    fn adapter(
        &mut self,
        file: &AdapterFile,
        name: &str,
        together: Option<&tempfile::TempDir>,
        seed: u64,
    ) -> Result<()> {
        let (files, text, device) = (&self.session.files, &self.session.text, &self.args.model.device);
        let trained_over = quantization_of(file)?.map_or(Held::F32, Held::Quantized);
        let mut model = load(files, text, trained_over, Some(file), device)?;
        let texts = self.texts(&model, seed)?;
        let reference = Reference::new(&mut model, texts)?;
        let merged = temporary()?;
        model.decoder.save(merged.path(), Some(files))?;
        let own = Form { merged: false, held: trained_over };
        self.row(file, name, &own.name(), &reference, &mut model)?;
        drop(model);
        for form in Form::others(trained_over) {
            let (files, text) = (&self.session.files, &self.session.text);
            let mut model = if form.merged {
                self.saved(merged.path(), form.held)?
            } else {
                load(files, text, form.held, Some(file), device)?
            };
            self.row(file, name, &form.name(), &reference, &mut model)?;
        }
        if let Some(folder) = together {
            let mut model = self.saved(folder.path(), Held::F32)?;
            let form = format!("merged with {} by {}", self.args.adapters.len() - 1, self.args.merging.how);
            self.row(file, name, &form, &reference, &mut model)?;
        }
        Ok(())
    }

    fn saved(&self, folder: &Path, held: Held) -> Result<CausalLm> {
        let files = ModelSource::Folder(folder.to_owned()).files(&[] as &[Builtin])?;
        load(&files, &self.session.text, held, None, &self.args.model.device)
    }

    /// The tests' prompts with their answers; without a task, what the model itself writes.
    fn texts(&self, model: &CausalLm, seed: u64) -> Result<Vec<Vec<i64>>> {
        let (count, text) = (self.args.texts, &self.session.text);
        if self.tasks.is_empty() {
            return written(model, text, count, seed);
        }
        let mut texts = Vec::new();
        for task in &self.tasks {
            let items = task.items(Split::Test);
            let examples = model.examples(task.config(), text, &items[..count.min(items.len())])?;
            let ids = |sequence: &tasks::Sequence| sequence.tokens.iter().map(|&id| i64::from(id)).collect();
            texts.extend(examples.sequences.iter().map(ids));
        }
        Ok(texts)
    }

    fn row(
        &mut self,
        file: &AdapterFile,
        adapter: &str,
        form: &str,
        reference: &Reference,
        model: &mut CausalLm,
    ) -> Result<()> {
        if interrupt::asked() {
            return Err(Error::Interrupted);
        }
        self.display.say(&format!("{adapter} · {form}"));
        let drift = reference.drift(model)?;
        self.rows.push(Row { adapter: adapter.to_owned(), form: form.to_owned(), drift });
        for task in &self.tasks {
            let name = &task.config().name;
            let seeds = Seeds::new(0);
            let examiner = Examiner {
                task,
                text: &self.session.text,
                batch_size: BATCH_SIZE,
                permission: self.args.tasks.permission(),
                seeds: &seeds,
                display: self.display,
            };
            let scored = examiner.score(&*model, Split::Test, &format!("{name} · {form}"))?;
            let label =
                if self.args.adapters.len() > 1 { format!("{name} with {adapter}") } else { name.clone() };
            let mut record = RunRecord::new(Timestamp::now(), form, &label, 0);
            method_of(file)?.0.family.clone_into(&mut record.family);
            self.base.clone_into(&mut record.model.name);
            record.environment = record::environment(model.device());
            record::score(&mut record, &scored)?;
            record.status = Status::Success;
            self.runs.push(Run { record, evidence: Evidence::Items(scored.outcomes) });
        }
        Ok(())
    }

    fn report(&self) -> Result<()> {
        let header = ["adapter", "held as", "weights off", "logit |Δ| max", "mean", "KL", "tokens changed"];
        let rows = self.rows.iter().map(|Row { adapter, form, drift }| {
            let share = |share: f64| format!("{:.2} %", 100.0 * share);
            let small = |value: f64| if value == 0.0 { "0".to_owned() } else { format!("{value:.1e}") };
            let figures = [small(drift.largest), small(drift.mean()), small(drift.divergence())];
            [adapter.clone(), form.clone(), share(drift.weights)]
                .into_iter()
                .chain(figures)
                .chain([share(drift.changed())])
                .collect()
        });
        print(&listing(&header, rows.collect::<Vec<_>>(), TerminalStyle::detect()));
        print(
            "Against the slot that each adapter was trained in. Weights off: what is wrong with the adapted weights, as a share of \
             the adapter's update. KL of the next token in nats, mean over tokens.",
        );
        if !self.runs.is_empty() {
            print(&table(&self.runs)?);
        }
        let Some(out) = &self.args.out else { return Ok(()) };
        let json = json!({ "model": self.base, "rows": self.rows.iter().map(to_json).collect::<Vec<_>>() });
        let text = serde_json::to_string_pretty(&json).expect("it prints") + "\n";
        compare::write_whole(&out.join("fidelity.json"), text.as_bytes())?;
        if !self.runs.is_empty() {
            let settings = compare::stats::Settings::default();
            compare::summarize(&self.runs, &settings)?.write(&out.join("summary.json"))?;
        }
        Ok(())
    }
}

fn to_json(Row { adapter, form, drift }: &Row) -> Value {
    json!({
        "adapter": adapter,
        "held": form,
        "weights_off": drift.weights,
        "logit_max": drift.largest,
        "logit_mean": drift.mean(),
        "kl": drift.divergence(),
        "tokens_changed": drift.changed(),
    })
}

/// Samples of the model at temperature 1: the divergence is then that of its own distribution.
fn written(model: &CausalLm, text: &Text, count: usize, seed: u64) -> Result<Vec<Vec<i64>>> {
    const LENGTH: usize = 48;
    let reason = "the tokenizer has no token to begin with, so give a task to compare on (`--task`)";
    let begin = text.tokenizer.bos().ok_or_else(|| Error::Usage(reason.to_owned()))?;
    let decoding = Decoding::new(Strategy::Sample { temperature: 1.0, top_p: 1.0 }, LENGTH, Vec::new());
    let prompts = vec![vec![begin]; count];
    let seeds = Seeds::new(seed).child("texts");
    let completions =
        model.generate(text, &decoding, &prompts, BATCH_SIZE, &seeds, &mut |_| interrupt::flow())?;
    if interrupt::asked() {
        return Err(Error::Interrupted);
    }
    let whole = |completion: models::Completion| {
        std::iter::once(i64::from(begin)).chain(completion.tokens).collect::<Vec<i64>>()
    };
    Ok(completions.into_iter().map(whole).collect())
}

fn temporary() -> Result<tempfile::TempDir> {
    Ok(tempfile::tempdir().map_err(|source| peft_core::Error::io(std::env::temp_dir(), source))?)
}
