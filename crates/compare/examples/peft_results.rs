//! Prints a folder of PEFT `MetaMathQA` results as a table with intervals and ties:
//! `cargo run -p compare --example peft_results -- DIR`
#![allow(clippy::print_stdout, reason = "it is a program")]

use compare::hf::{Rules, import_folder};
use compare::stats::Settings;
use compare::table::{TerminalStyle, results, terminal};
use compare::{entries, rank_all};

fn main() -> compare::Result<()> {
    let folder = std::env::args().nth(1).expect("usage: peft_results DIR");
    let selection = import_folder(folder.as_ref(), &Rules::metamathqa())?;
    let rankings = rank_all(&entries(&selection.runs)?, &Settings::default())?;
    print!("{}", terminal(&results(&rankings), TerminalStyle::detect()));
    for run in selection.left_out {
        println!("left out: {}, {}", run.id, run.reason);
    }
    Ok(())
}
