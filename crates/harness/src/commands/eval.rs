//! `eval`: score a model, with or without an adapter, or measure bits per character of a text.

use std::path::Path;

use compare::{Evidence, RunRecord, Status};
use jiff::Timestamp;
use models::Activations;
use peft_core::peft_file::AdapterFile;
use peft_core::{Adaptable, Mode, Seeds, device};
use tasks::{Split, Task, TaskConfig};
use tch::Tensor;

use super::run::table;
use super::{print, use_threads};
use crate::cli::EvalArgs;
use crate::config::{parse_dtype, storage_or};
use crate::evaluate::Examiner;
use crate::progress::Display;
use crate::queue::check_writable;
use crate::session::{Session, Text, storage_of};
use crate::solver::{CausalLm, Solver};
use crate::{Error, Result, adapter, record};

pub(super) fn execute(args: &EvalArgs) -> Result<()> {
    use_threads(args.model.threads);
    if args.task.is_empty() && args.text.is_none() {
        return Err(Error::Usage("nothing to score: give `--task` or `--text`".to_owned()));
    }
    if let Some(out) = &args.out {
        check_writable(out)?;
    }
    let configs = args.task.iter().map(|name| args.tasks.read(name)).collect::<Result<Vec<_>>>()?;
    let mut session = open(args, &configs)?;
    let method = match &args.adapter {
        Some(folder) => {
            let file = AdapterFile::read(folder)?;
            let quantize = storage_or(&args.storage, adapter::quantization_of(&file)?)?;
            let (attachment, info, _) = adapter::attach(&mut session.learner, "default", &file, quantize)?;
            session.learner.activate(&attachment.active());
            session.learner.merge();
            Some((attachment, info))
        }
        None => {
            let stated = configs.first().and_then(|config| config.training.quantize);
            session.learner.store(storage_of(storage_or(&args.storage, stated)?));
            None
        }
    };
    if let Some(text) = &args.text {
        let reason = "--text is read by a language model, and the task wants a model with a head";
        let model = session.learner.as_causal_lm().ok_or_else(|| Error::Usage(reason.to_owned()))?;
        print(&bits_per_character(model, &session.text, text, args.limit)?);
    }

    let display = Display::choose(args.quiet);
    let mut runs = Vec::new();
    for config in configs {
        let task = Task::load_from(config, &args.tasks.place())?;
        task.require(Split::Test)?;
        let seeds = Seeds::new(0);
        let examiner = Examiner {
            task: &task,
            text: &session.text,
            batch_size: args.batch_size,
            permission: args.tasks.permission(),
            seeds: &seeds,
            display,
        };
        let label = format!("{} · score", task.config().name);
        let scored = examiner.score(&*session.learner, Split::Test, &label)?;
        let method_name = method.as_ref().map_or(compare::BASE, |(_, info)| info.name);
        let mut run = RunRecord::new(Timestamp::now(), method_name, &task.config().name, 0);
        if let Some((attachment, info)) = &method {
            info.family.clone_into(&mut run.family);
            info.variant.clone_into(&mut run.variant);
            run.parameters = record::parameters(&session, attachment);
        }
        run.model.name.clone_from(&session.name);
        run.environment = record::environment(session.learner.device());
        record::score(&mut run, &scored)?;
        run.status = Status::Success;
        runs.push(compare::Run { record: run, evidence: Evidence::Items(scored.outcomes) });
    }
    if !runs.is_empty() {
        print(&table(&runs)?);
        if let Some(out) = &args.out {
            let settings = compare::stats::Settings::default();
            compare::summarize(&runs, &settings)?.write(&out.join("summary.json"))?;
        }
    }
    Ok(())
}

/// The model that all of `tasks` are for, as the command line and the first of them want it.
fn open(args: &EvalArgs, tasks: &[TaskConfig]) -> Result<Session<Box<dyn Solver>>> {
    let Some(first) = tasks.first() else {
        let name =
            args.model.model.as_deref().ok_or_else(|| Error::Usage("--text needs `--model`".to_owned()))?;
        return Ok(Session::open(&args.model, name)?.boxed());
    };
    if let Some(other) = tasks.iter().find(|task| task.head != first.head) {
        let reason = "want models with different heads; score them one by one";
        return Err(Error::Usage(format!("tasks `{}` and `{}` {reason}", first.name, other.name)));
    }
    let mut task = first.clone();
    if let Some(model) = &args.model.model {
        task.training.model.clone_from(model);
    }
    if let Some(dtype) = &args.model.dtype {
        task.training.dtype = parse_dtype(dtype)?;
    }
    Session::for_task(&task, device::parse(&args.model.device)?, false, &Seeds::new(0))
}

/// Every document alone, from its beginning-of-sequence token on: Σ −log₂ p / characters.
fn bits_per_character(model: &CausalLm, text: &Text, path: &Path, limit: Option<usize>) -> Result<String> {
    let mut documents = read_documents(path)?;
    documents.truncate(limit.unwrap_or(usize::MAX));
    let decoder = &model.decoder;
    let bos =
        text.tokenizer.bos().ok_or_else(|| Error::Usage("the tokenizer has no bos token".to_owned()))?;
    let (mut nats, mut tokens, mut characters, mut marks, mut cut) = (0.0, 0, 0, 0, 0);
    for document in &documents {
        let mut ids: Vec<i64> = vec![i64::from(bos)];
        ids.extend(text.tokenizer.encode(document)?.into_iter().map(i64::from));
        if ids.len() > decoder.context() as usize {
            ids.truncate(decoder.context() as usize);
            cut += 1;
        }
        let kept = text.tokenizer.decode(&ids[1..].iter().map(|&id| id as u32).collect::<Vec<_>>())?;
        characters += kept.chars().count();
        marks += text.decoder.decode(&ids)?.chars().count();
        tokens += ids.len() - 1;
        let row = Tensor::from_slice(&ids).unsqueeze(0);
        nats += tch::no_grad(|| {
            let hidden = decoder.hidden(&row, None, Mode::Eval, Activations::Keep)?;
            Ok::<f64, Error>(decoder.loss(&hidden, &row, Mode::Eval)?.sum.double_value(&[]))
        })?;
    }
    if characters == 0 {
        return Err(Error::Usage(format!("`{}` holds no text", path.display())));
    }
    let bits = nats / std::f64::consts::LN_2;
    Ok(format!(
        "{}: {:.4} bits per character ({:.4} if the letters of special tokens are counted), {:.4} nats per token \
         ({} documents, {tokens} tokens, {characters} characters{})",
        path.display(),
        bits / characters as f64,
        bits / marks as f64,
        nats / tokens as f64,
        documents.len(),
        if cut > 0 {
            format!("; {cut} documents cut at {} tokens", decoder.context())
        } else {
            String::new()
        },
    ))
}

/// A `.json` file is a list of texts; elsewhere documents are separated by `<|endoftext|>`, or else every line is one.
fn read_documents(path: &Path) -> Result<Vec<String>> {
    const SEPARATOR: &str = "<|endoftext|>";
    let text = std::fs::read_to_string(path).map_err(|source| peft_core::Error::io(path, source))?;
    if path.extension().is_some_and(|extension| extension == "json") {
        let parsed = serde_json::from_str(&text);
        return Ok(parsed
            .map_err(|error| peft_core::Error::format(path, format!("not a list of texts: {error}")))?);
    }
    let parts: Box<dyn Iterator<Item = &str>> =
        if text.contains(SEPARATOR) { Box::new(text.split(SEPARATOR)) } else { Box::new(text.lines()) };
    Ok(parts.map(str::trim).filter(|document| !document.is_empty()).map(str::to_owned).collect())
}
