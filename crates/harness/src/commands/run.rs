//! `run`: train, score, tabulate.

use compare::Run;
use compare::stats::Settings;
use compare::table::{TerminalStyle, results, terminal};

use super::{print, scenario, use_threads};
use crate::cli::RunArgs;
use crate::config::resolve;
use crate::progress::Display;
use crate::queue::Queue;
use crate::{Error, Result, interrupt};

pub(super) fn execute(args: &RunArgs) -> Result<()> {
    match &args.scenario {
        Some(name) => scenario::execute(args, name),
        None => suite(args),
    }
}

/// Every method on every task.
pub(super) fn suite(args: &RunArgs) -> Result<()> {
    use_threads(args.model.threads);
    let experiments = resolve(args)?;
    let display = Display::choose(args.quiet);
    let mut queue = Queue::new(args, display)?;
    let outcome = queue.run(&experiments);

    let finished = compare::latest(queue.runs()).runs;
    if !finished.is_empty() {
        let path = queue.folder().join("summary.json");
        compare::summarize(&finished, &Settings::default())?.write(&path)?;
        print(&table(&finished)?);
        display.say(&format!("records and adapters: {}", queue.folder().display()));
    }
    outcome?;
    if interrupt::asked() {
        let folder = queue.folder().display();
        if args.checkpoint_every != Some(0) {
            display.say(&format!("the same command goes on from its last checkpoint with `--out {folder}`"));
        }
        return Err(Error::Interrupted);
    }
    self::outcome(queue.failures())
}

/// An error that lists what failed, if anything did.
pub(super) fn outcome(failures: &[String]) -> Result<()> {
    match failures {
        [] => Ok(()),
        [only] => Err(Error::Failed(only.clone())),
        several => Err(Error::Failed(format!("{} runs failed:\n  {}", several.len(), several.join("\n  ")))),
    }
}

/// The runs as a table for this terminal.
pub(super) fn table(runs: &[Run]) -> Result<String> {
    let entries = compare::entries(runs)?;
    let rankings = compare::rank_all(&entries, &Settings::default())?;
    Ok(terminal(&results(&rankings), TerminalStyle::detect()))
}
