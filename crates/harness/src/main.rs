//! The command line of the PEFT workbench.

use std::process::ExitCode;

use clap::Parser;
use harness::cli::Cli;
use harness::{Error, commands};

#[allow(clippy::print_stderr)]
fn main() -> ExitCode {
    /// What shells report for a process ended by SIGINT.
    const INTERRUPTED: u8 = 130;
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
            if matches!(error, Error::Interrupted) { ExitCode::from(INTERRUPTED) } else { ExitCode::FAILURE }
        }
    }
}
