//! One contestant of `benchmarks/compare_with_peft.py`; speaks the protocol of `benchmarks/peers/peft_contestant.py`.

use std::io::BufRead;
use std::path::PathBuf;
use std::time::Instant;

use benchmarks::Contestant;
use clap::Parser;
use harness::memory::{PeakMemory, anonymous_bytes};
use serde_json::{Value, json};
use tch::{Device, Kind};

#[derive(Parser)]
struct Args {
    #[arg(long)]
    model: PathBuf,
    #[arg(long)]
    method: String,
    #[arg(long)]
    rank: i64,
    #[arg(long)]
    rows: i64,
    #[arg(long)]
    length: i64,
    #[arg(long)]
    threads: i32,
}

#[allow(clippy::print_stdout)]
fn say(value: &Value) {
    println!("{value}");
}

fn main() {
    peft_core::device::keep_freed_memory();
    let args = Args::parse();
    tch::set_num_threads(args.threads);
    let decoder =
        harness::session::load_decoder(&args.model, Kind::Float, Device::Cpu).expect("the model loads");
    let loaded = anonymous_bytes();
    let mut memory = Some(PeakMemory::start());
    let mut contestant = Contestant::new(decoder, &args.method, args.rank, [args.rows, args.length]);
    say(&json!({ "ready": true, "trainable": contestant.trainable() }));
    for (index, line) in std::io::stdin().lock().lines().enumerate() {
        match line.expect("text").trim() {
            // Sampling ends here: it would take time from whoever is at work.
            "memory" => say(&json!({ "growth_bytes": memory.take().and_then(|memory| memory.over(loaded)) })),
            _ => {
                let start = Instant::now();
                let step = contestant.step(index as u64);
                let seconds = start.elapsed().as_secs_f64();
                say(&json!({ "seconds": seconds, "loss": step.loss, "grad_norm": step.grad_norm }));
            }
        }
    }
}
