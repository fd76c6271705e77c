//! `run --scenario`: a comparison that one file describes.

use std::path::Path;

use compare::plot::Figure;
use compare::stats::Settings;
use compare::table::{TerminalStyle, listing};
use compare::{Run, latest};
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::{continual, print, run, sweep, use_threads};
use crate::cli::{ContinualArgs, RunArgs};
use crate::config::{AblationPlan, Experiment, Grid, MergePlan, Scenario, resolve};
use crate::progress::Display;
use crate::queue::{Queue, check_writable, default_folder};
use crate::scenario::{by_method, by_weight, figure, merged};
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
    single(&args, &scenario)
}

/// Every method on every task, by itself.
fn single(args: &RunArgs, scenario: &Scenario) -> Result<()> {
    let experiments = resolve(args)?;
    let mut queue = Queue::new(args, Display::choose(args.quiet))?;
    queue.run(&experiments)?;
    let runs = latest(queue.runs()).runs;
    draw(queue.folder(), &figure(&scenario.name, "method", &by_method(&runs))?)?;
    let failures = queue.failures().to_vec();
    finish(queue.folder(), args, &scenario.name, runs, &Value::Null, failures)
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
                    notes.extend(note);
                }
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                Err(error) => failures.push(format!("{method} · seed {seed}: {error}")),
            }
        }
    }
    let curves = by_weight(&runs);
    if !curves.is_empty() {
        draw(queue.folder(), &figure(&scenario.name, "weight of every adapter", &curves)?)?;
    }
    let chosen = choices(&notes);
    finish(queue.folder(), args, &scenario.name, runs, &Value::Array(notes), failures)?;
    if let Some(chosen) = chosen {
        print(&chosen);
    }
    Ok(())
}

/// An ablation is a sweep along one axis.
fn ablations(args: &RunArgs, scenario: &Scenario, plan: &AblationPlan) -> Result<()> {
    let axes = [(plan.setting.clone(), plan.values.clone())].into();
    let grid = Grid::new(axes, &scenario.settings)?;
    sweep::whole(args, &scenario.name, &grid, &scenario.settings)
}

/// Writes a figure beside the table.
pub(super) fn draw(folder: &Path, figure: &Figure) -> Result<()> {
    let path = folder.join(format!("{}.svg", figure.name));
    Ok(compare::write_whole(&path, figure.svg().as_bytes())?)
}

/// The weights that were chosen, a line for each way to merge a combination, and what choosing cost.
fn choices(notes: &[Value]) -> Option<String> {
    let mut rows: IndexMap<[String; 2], [Vec<String>; 3]> = IndexMap::new();
    for note in notes {
        let word = |key: &str| note[key].as_str().unwrap_or_default().to_owned();
        for (how, choice) in note["chosen"].as_object().into_iter().flatten() {
            let row = rows.entry([word("combination"), format!("{}-{how}", word("method"))]).or_default();
            let weights = choice["weights"].as_array().into_iter().flatten().map(Value::to_string);
            let mut weights: Vec<String> = weights.collect();
            weights.dedup();
            row[0].push(weights.join(","));
            row[1].push(choice["evaluations"].to_string());
            row[2].push(choice["seconds"].as_f64().map_or("–".to_owned(), |seconds| format!("{seconds:.0}")));
        }
    }
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(names, cells)| {
            names.into_iter().chain(cells.into_iter().map(|cell| cell.join("  "))).collect()
        })
        .collect();
    let header = ["merge of", "by", "weights, seed by seed", "merges tried", "seconds"];
    (!rows.is_empty()).then(|| listing(&header, rows, TerminalStyle::detect()))
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
