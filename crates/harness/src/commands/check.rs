//! `check`: this tree against a baseline.

use clap::Parser;
use compare::gate::{Allowance, Bounds, Gate, Side, Verdict, check, comment, power};
use compare::stats::Settings;
use compare::table::{TerminalStyle, terminal};

use super::{print, use_threads};
use crate::check::{Baseline, Tree, measure, settings};
use crate::cli::{CheckArgs, Cli, Command, RunArgs};
use crate::config::{CheckPlan, Experiment, Scenario, resolve};
use crate::progress::Display;
use crate::queue::{check_writable, default_folder};
use crate::{Error, Result};

pub(super) fn execute(args: &CheckArgs) -> Result<()> {
    outcome(args).map_err(|error| match error {
        Error::Failed(_) | Error::Interrupted | Error::CannotCheck { .. } => error,
        other => cannot(other.to_string(), other.hint()),
    })
}

fn outcome(args: &CheckArgs) -> Result<()> {
    let (scenario, run) = run_args(args)?;
    let plan = scenario
        .check
        .as_ref()
        .ok_or_else(|| cannot(format!("scenario `{}` has no `[check]` section", args.scenario), None))?;
    let experiments = resolve(&run)?;
    let baseline = Baseline::new(&args.baseline);
    let before = known(&baseline, args.update)?;
    if let Some(before) = before.as_ref().filter(|_| !args.update) {
        same_settings(before, plan, &experiments, run.seed)?;
    }
    for folder in run.out.iter().chain(args.update.then_some(&args.baseline)) {
        check_writable(folder)?;
    }
    use_threads(Some(plan.threads));
    let display = Display::choose(args.quiet);
    let after = measure(&run, plan, &experiments, display)?;
    let Some(before) = before else {
        return update(&baseline, &after);
    };
    let (bounds, allowance) = rules(plan);
    let gate = check(before.side(), after.side(), &bounds, allowance)?;
    let style = TerminalStyle::detect();
    print(terminal(&if args.all { gate.table() } else { gate.overview() }, style).trim_end());
    let notes = notes(before.side(), plan, &bounds)?;
    for note in &notes {
        print(note);
    }
    if let Some(path) = &args.markdown {
        compare::write_whole(path, comment(&gate, &notes).as_bytes())?;
    }
    if args.update {
        gate.reasons().iter().for_each(|reason| print(&format!("changed: {reason}")));
        return update(&baseline, &after);
    }
    verdict(&gate)
}

/// The command line of the runs.
fn run_args(args: &CheckArgs) -> Result<(Scenario, RunArgs)> {
    let scenario = Scenario::read(&args.scenario)?;
    let out = args.out.clone().unwrap_or_else(|| default_folder(&scenario.name));
    let mut words = ["harness", "run", "--device", "cpu", "--checkpoint-every", "0", "--scenario"]
        .map(str::to_owned)
        .to_vec();
    words.extend([args.scenario.clone(), "--out".to_owned(), out.display().to_string()]);
    match Cli::try_parse_from(words).map(|cli| cli.command) {
        Ok(Some(Command::Run(run))) => {
            let Scenario { suite, methods, tasks, seeds, .. } = &scenario;
            let run = run.within(suite, methods, tasks, *seeds);
            Ok((scenario, run))
        }
        other => panic!("a check's command line is one of `run`: {other:?}"),
    }
}

/// The baseline, before anything runs; an update does without.
fn known(baseline: &Baseline, update: bool) -> Result<Option<Tree>> {
    if baseline.exists() {
        return baseline.read().map(Some);
    }
    if update {
        return Ok(None);
    }
    let reason = format!("there is no baseline in `{}`", baseline.folder().display());
    Err(cannot(reason, Some("`--update` makes one of what this tree does".to_owned())))
}

fn same_settings(before: &Tree, plan: &CheckPlan, experiments: &[Experiment], seed: u64) -> Result<()> {
    let hint = Some("`--update` makes the baseline anew and says what changed".to_owned());
    for experiment in experiments {
        let (task, method) = (&experiment.task.name, experiment.method.info.name);
        match before.measurements.cell(task, method) {
            Some(cell) if cell.settings == settings(plan, experiment, seed) => {}
            Some(_) => {
                return Err(cannot(format!("{task} · {method}: the baseline has other settings"), hint));
            }
            None => return Err(cannot(format!("{task} · {method}: the baseline has no such cell"), hint)),
        }
    }
    Ok(())
}

fn rules(plan: &CheckPlan) -> (Bounds, Allowance) {
    let settings = Settings { confidence: plan.confidence, ..Settings::default() };
    let allowance = Allowance { here: plan.pace.slowdown, elsewhere: plan.pace.slowdown_elsewhere };
    (Bounds { settings, slowdown: None }, allowance)
}

/// What the tests of the scores can see, and how often they see what is not there.
fn notes(before: Side<'_>, plan: &CheckPlan, bounds: &Bounds) -> Result<Vec<String>> {
    Ok(vec![power::rates(before.runs, plan.discordance, bounds)?.to_string()])
}

fn update(baseline: &Baseline, tree: &Tree) -> Result<()> {
    let failed = tree.measurements.failures.first();
    if let Some(failure) = failed {
        let reason = format!("{} · {} failed: {}", failure.task, failure.method, failure.reason);
        return Err(cannot(reason, Some("a baseline has all its cells; the old one stays".to_owned())));
    }
    baseline.replace(tree)?;
    print(&format!("The baseline is what this tree does: {}", baseline.folder().display()));
    Ok(())
}

fn verdict(gate: &Gate) -> Result<()> {
    let reasons = gate.reasons();
    if !reasons.is_empty() {
        return Err(Error::Failed(format!("the check is not passed:\n  {}", reasons.join("\n  "))));
    }
    let open = gate.checks.iter().find_map(|check| match &check.verdict {
        Verdict::Open(reason) => Some(format!("{} · {}: {reason}", check.task, check.method)),
        _ => None,
    });
    if let Some(reason) = open {
        return Err(cannot(reason, None));
    }
    print(&format!("The check is passed: {} comparisons.", gate.checks.len()));
    Ok(())
}

fn cannot(reason: String, hint: Option<String>) -> Error {
    Error::CannotCheck { reason, hint }
}
