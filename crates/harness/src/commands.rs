//! What the command line can do, a file for each command.

mod check;
mod claims;
mod continual;
mod doctor;
mod eval;
mod export;
mod fidelity;
mod gate;
mod generate;
mod interference;
mod list;
mod merge;
mod merge_into_base;
mod parity;
mod plan;
mod pretrain;
mod quantization_error;
mod report;
mod rescore;
mod run;
mod scenario;
mod show;
mod sweep;
mod table;
mod tune;

use std::io::Write;

use crate::cli::{Cli, Command};
use crate::{Result, interrupt};

/// Does what was asked for.
///
/// # Errors
/// Whatever the command refuses.
pub fn dispatch(cli: Cli) -> Result<()> {
    interrupt::listen();
    match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(args) => run::execute(&args),
        Command::Continual(args) => continual::execute(&args),
        Command::Tune(args) => tune::execute(&args),
        Command::Sweep(args) => sweep::execute(&args),
        Command::Plan(args) => plan::execute(&args),
        Command::Show(args) => show::execute(&args),
        Command::List { what } => list::execute(what),
        Command::Eval(args) => eval::execute(&args),
        Command::Generate(args) => generate::execute(&args),
        Command::Pretrain(args) => pretrain::execute(&args),
        Command::Merge(args) => merge::execute(&args),
        Command::Interference(args) => interference::execute(&args),
        Command::Fidelity(args) => fidelity::execute(&args),
        Command::MergeIntoBase(args) => merge_into_base::execute(&args),
        Command::QuantizationError(args) => quantization_error::execute(&args),
        Command::Report(args) => report::execute(&args),
        Command::Rescore(args) => rescore::execute(&args),
        Command::Gate(args) => gate::execute(&args),
        Command::Check(args) => check::execute(&args),
        Command::Export(args) => export::execute(&args),
        Command::Doctor(args) => doctor::execute(&args),
        Command::Claims(args) => claims::execute(&args),
        Command::Table(args) => table::execute(&args),
        Command::Parity(args) => parity::execute(&args),
    }
}

/// Text for the user, as opposed to progress. A reader that has gone away (`| head`) is no error.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Sets the number of threads of one operation.
fn use_threads(threads: Option<u32>) {
    if let Some(threads) = threads {
        tch::set_num_threads(threads.cast_signed());
    }
}
