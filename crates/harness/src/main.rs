//! The command line of the PEFT workbench.

use std::process::ExitCode;

use clap::Parser;
use harness::cli::Cli;
use harness::commands;

#[allow(clippy::print_stderr)]
fn main() -> ExitCode {
    peft_core::device::keep_freed_memory();
    let cli = Cli::parse();
    let verbose = cli.verbose;
    match commands::dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            if verbose {
                eprintln!("{error:#?}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}
