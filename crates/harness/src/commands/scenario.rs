//! `run --scenario`: a comparison that one file describes.

use std::path::Path;

use compare::Run;
use compare::stats::Settings;
use serde_json::{Value, json};

use super::{continual, print, run, sweep, use_threads};
use crate::cli::{ContinualArgs, RunArgs};
use crate::config::{AblationPlan, Experiment, Grid, MergePlan, Scenario, resolve};
use crate::progress::Display;
use crate::queue::{Queue, check_writable, default_folder};
use crate::scenario::merged;
use crate::{Error, Result, interrupt};

pub(super) fn execute(args: &RunArgs, name: &str) -> Result<()> {
    let scenario = Scenario::read(name)?;
    let Scenario { suite, methods, tasks, seeds, .. } = &scenario;
    let mut args = args.within(suite, methods, tasks, *seeds);
    use_threads(args.model.threads);
    let out = args.out.clone().unwrap_or_else(|| default_folder(&scenario.name));
    check_writable(&out)?;
    args.out = Some(out);
    let Scenario { merge, continual: sequences, ablation, .. } = &scenario;
    if let Some(plan) = merge {
        return merges(&args, &scenario, plan);
    }
    if let Some(plan) = sequences {
        let args = ContinualArgs { run: args, replay: plan.replay, joint: plan.joint };
        return continual::sequences(&args, &plan.sequences);
    }
    if let Some(plan) = ablation {
        return ablations(&args, &scenario, plan);
    }
    run::suite(&args)
}

fn merges(args: &RunArgs, scenario: &Scenario, plan: &MergePlan) -> Result<()> {
    let experiments = resolve(args)?;
    let mut methods: Vec<&str> = experiments.iter().map(|one| one.method.info.name).collect();
    methods.sort_unstable();
    methods.dedup();
    let display = Display::choose(args.quiet);
    let mut queue = Queue::new(args, display)?;
    let (mut runs, mut notes, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for seed in args.all_seeds() {
        for method in &methods {
            let own: Vec<&Experiment> =
                experiments.iter().filter(|one| one.method.info.name == *method).collect();
            match merged(&mut queue, &own, plan, seed) {
                Ok((of_method, note)) => {
                    runs.extend(of_method);
                    notes.push(note);
                }
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                Err(error) => failures.push(format!("{method} · seed {seed}: {error}")),
            }
        }
    }
    finish(queue.folder(), args, &scenario.name, runs, &Value::Array(notes), failures)
}

/// An ablation is a sweep along one axis.
fn ablations(args: &RunArgs, scenario: &Scenario, plan: &AblationPlan) -> Result<()> {
    let axes = [(plan.setting.clone(), plan.values.clone())].into();
    let grid = Grid::new(axes, &scenario.settings)?;
    sweep::whole(args, &scenario.name, &grid, &scenario.settings)
}

/// Prints the table, and writes `summary.json` and `scenario.json`.
pub(super) fn finish(
    folder: &Path,
    args: &RunArgs,
    name: &str,
    runs: Vec<Run>,
    notes: &Value,
    failures: Vec<String>,
) -> Result<()> {
    if !runs.is_empty() {
        let mut summary = compare::summarize(&runs, &Settings::default())?;
        for row in &mut summary.rows {
            row.scenario = Some(name.to_owned());
            row.stage = row.task.split_once(" in ").map(|(_, stage)| stage.to_owned());
        }
        summary.write(&folder.join("summary.json"))?;
        let about =
            json!({ "scenario": name, "methods": args.method, "seeds": args.seed_count(), "notes": notes });
        let text = serde_json::to_string_pretty(&about).expect("it prints") + "\n";
        compare::write_whole(&folder.join("scenario.json"), text.as_bytes())?;
        print(&run::table(&runs)?);
        Display::choose(args.quiet).say(&format!("records and adapters: {}", folder.display()));
    }
    if interrupt::asked() {
        return Err(Error::Interrupted);
    }
    run::outcome(&failures)
}
