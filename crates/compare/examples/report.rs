//! Writes a report of runs, without building the harness:
//! `cargo run -p compare --example report -- OUT RECORDS…`
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::path::Path;

use compare::report::Report;
use compare::stats::Settings;
use compare::table::{TerminalStyle, terminal};
use compare::{collect, distinct, latest};

fn main() -> compare::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (out, sources) = arguments.split_first().expect("usage: report OUT RECORDS…");
    let mut runs = Vec::new();
    for source in sources {
        runs.extend(collect(Path::new(source))?);
    }
    let selection = latest(distinct(runs));
    let report = Report::new(&selection, &Settings::default())?;
    print!("{}", terminal(&report.results(), TerminalStyle::detect()));
    for path in report.write(Path::new(out))? {
        println!("{}", path.display());
    }
    Ok(())
}
