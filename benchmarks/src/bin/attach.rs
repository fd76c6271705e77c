//! One contestant of `benchmarks/attach_with_peft.py`: prints the seconds that `PiSSA` takes to attach to one weight.

use std::time::Instant;

use benchmarks::Layer;
use clap::Parser;

#[derive(Parser)]
struct Args {
    #[arg(long)]
    size: i64,
    #[arg(long)]
    rank: i64,
    #[arg(long)]
    init: String,
    #[arg(long)]
    threads: i32,
}

#[allow(clippy::print_stdout)]
fn main() {
    let args = Args::parse();
    tch::set_num_threads(args.threads);
    let settings = format!("rank = {0}\nalpha = {0}.0\ninit = '{1}'", args.rank, args.init);
    let mut layer = Layer::random([args.size, args.size]);
    let start = Instant::now();
    layer.attach("pissa", settings.parse().expect("settings"));
    println!("{}", start.elapsed().as_secs_f64());
}
