//! One contestant of `benchmarks/generate_with_transformers.py`: continues a batch of prompts each time it is asked.

use std::io::BufRead;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use models::{Generation, Sampling};
use serde_json::json;
use tch::{Device, Kind};

#[derive(Parser)]
struct Args {
    #[arg(long)]
    model: PathBuf,
    /// A JSON list of lists of token ids.
    #[arg(long)]
    prompts: PathBuf,
    #[arg(long)]
    new_tokens: usize,
    #[arg(long)]
    threads: i32,
}

#[allow(clippy::print_stdout)]
fn main() {
    peft_core::device::keep_freed_memory();
    let args = Args::parse();
    tch::set_num_threads(args.threads);
    let decoder =
        harness::session::load_decoder(&args.model, Kind::Float, Device::Cpu).expect("the model loads");
    let prompts = std::fs::read(&args.prompts).expect("the prompts are readable");
    let prompts: Vec<Vec<i64>> = serde_json::from_slice(&prompts).expect("lists of ids");
    let settings = Generation {
        max_new_tokens: args.new_tokens,
        sampling: Sampling::Greedy,
        end_tokens: Vec::new(),
        stop_strings: Vec::new(),
        batch_size: prompts.len(),
    };
    println!("{}", json!({ "ready": true }));
    for line in std::io::stdin().lock().lines() {
        line.expect("text");
        let start = Instant::now();
        let completions = decoder
            .generate(&prompts, &settings, None, &mut |_| ControlFlow::Continue(()))
            .expect("prompts fit");
        let seconds = start.elapsed().as_secs_f64();
        let tokens: Vec<&Vec<i64>> = completions.iter().map(|completion| &completion.tokens).collect();
        println!("{}", json!({ "seconds": seconds, "tokens": tokens }));
    }
}
