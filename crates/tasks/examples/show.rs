//! Looks at what a task, the corpus or the probes hold.
//!
//! ```text
//! cargo run -p tasks --example show -- items math --split test -n 3
//! cargo run -p tasks --example show -- items gsm8k --data ../shared/data --json
//! cargo run -p tasks --example show -- documents stories -n 5
//! cargo run -p tasks --example show -- probes
//! cargo run -p tasks --example show -- tokenizer DIR
//! ```
#![allow(clippy::print_stdout)]

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use tasks::mini::{Corpus, Document, Kind, PretrainData, Skill, probes, train_tokenizer};
use tasks::{PRETRAIN_MINI, Scorer, Split, Task, TaskConfig, provided};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Items of a task, with the scores of their gold responses.
    Items {
        /// A provided task, or a task file.
        task: String,
        /// Which split.
        #[arg(long, default_value = "train", value_parser = named::<Split>)]
        split: Split,
        /// Where the task's files are.
        #[arg(long)]
        data: Option<PathBuf>,
        /// How many.
        #[arg(short, default_value_t = usize::MAX)]
        n: usize,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Documents of the corpus.
    Documents {
        /// Only of this kind.
        #[arg(value_parser = named::<Kind>)]
        kind: Option<Kind>,
        /// How many.
        #[arg(short, default_value_t = 10)]
        n: u64,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// One probe of each skill, or as many as asked for.
    Probes {
        /// How many of each.
        #[arg(short, default_value_t = 1)]
        n: usize,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Trains the vocabulary and writes its files.
    Tokenizer {
        /// The folder.
        dir: PathBuf,
    },
}

fn main() -> Result<()> {
    let data = PretrainData::parse(PRETRAIN_MINI, "configs/pretrain/mini.toml")?;
    match Cli::parse().what {
        What::Items { task, split, data, n, json } => items(&task, split, data.as_deref(), n, json),
        What::Documents { kind, n, json } => {
            documents(&Corpus::new(&data.corpus), kind, n, json);
            Ok(())
        }
        What::Probes { n, json } => {
            for skill in Skill::ALL {
                for probe in probes(skill, data.probes.seed, n) {
                    if json {
                        println!("{}", serde_json::json!([name(&skill), probe.prompt, probe.expected]));
                    } else {
                        println!("{:<10} {} |{}", name(&skill), probe.prompt, probe.expected);
                    }
                }
            }
            Ok(())
        }
        What::Tokenizer { dir } => {
            for (file, text) in train_tokenizer(&data)?.files(256)? {
                let path = dir.join(file);
                std::fs::write(&path, text).with_context(|| path.display().to_string())?;
            }
            Ok(())
        }
    }
}

fn items(task: &str, split: Split, data: Option<&Path>, n: usize, json: bool) -> Result<()> {
    let config = if Path::new(task).is_file() {
        TaskConfig::parse(&std::fs::read_to_string(task).with_context(|| task.to_owned())?, task)?
    } else {
        provided(task)?
    };
    let task = Task::load(config, data)?;
    let items = task.items(split);
    let gold: Vec<_> = items.iter().map(|item| vec![item.response.clone()]).collect();
    let scores = Scorer::new(&task.config().scoring).score(items, &gold)?;
    for (item, scores) in items.iter().zip(scores).take(n) {
        if json {
            println!("{}", serde_json::to_string(item)?);
        } else {
            println!("{} | key {} | gold {scores:?}\n{}|{}\n", item.id, item.key, item.prompt, item.response);
        }
    }
    Ok(())
}

fn documents(corpus: &Corpus, kind: Option<Kind>, n: u64, json: bool) {
    for index in 0..n {
        let Document { kind, text } = match kind {
            Some(kind) => corpus.sample(kind, index),
            None => corpus.document(index),
        };
        if json {
            println!("{}", serde_json::json!({ "kind": kind, "text": text }));
        } else {
            println!("{:<11}{text}", name(&kind));
        }
    }
}

/// The name a value has in files.
fn name(value: &impl Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| value.as_str().map(ToOwned::to_owned))
        .unwrap_or_default()
}

fn named<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_value(text.into())
}
