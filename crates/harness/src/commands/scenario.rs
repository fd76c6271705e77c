//! `run --scenario`: a comparison that one file describes.

use compare::plot::{Curves, Figure, Plot, Series, Spacing};
use compare::stats::Settings;
use compare::{Run, distinct, latest};
use serde_json::{Value, json};

use super::{continual, print, run, use_threads};
use crate::cli::{ContinualArgs, RunArgs};
use crate::config::{AblationPlan, Experiment, MergePlan, Scenario, resolve};
use crate::progress::Display;
use crate::queue::{Queue, check_writable, default_folder};
use crate::scenario::{Varied, ablate, merged};
use crate::{Error, Result, interrupt};

pub(super) fn execute(args: &RunArgs, name: &str) -> Result<()> {
    let scenario = Scenario::read(name)?;
    let mut args = args.within(&scenario);
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
    finish(&queue, args, scenario, runs, &Value::Array(notes), failures)
}

fn ablations(args: &RunArgs, scenario: &Scenario, plan: &AblationPlan) -> Result<()> {
    let display = Display::choose(args.quiet);
    let Varied { by_value, failures } = ablate(args, plan, display)?;
    let queue = Queue::new(args, display)?;
    let figure = curve(plan, &by_value)?;
    if let Some(figure) = figure {
        compare::write_whole(
            &queue.folder().join(format!("{}.svg", scenario.name)),
            figure.svg().as_bytes(),
        )?;
    }
    let runs: Vec<Run> = by_value.into_iter().flat_map(|(_, runs)| runs).collect();
    let note = json!({ "setting": plan.setting, "values": plan.values });
    finish(&queue, args, scenario, latest(distinct(runs)).runs, &note, failures)
}

/// Scores over the values, where these are numbers.
fn curve(plan: &AblationPlan, by_value: &[(String, Vec<Run>)]) -> Result<Option<Figure>> {
    let mut series: Vec<Series> = Vec::new();
    for (value, runs) in by_value {
        let Ok(x) = value.parse::<f64>() else { return Ok(None) };
        for ranking in compare::rank_all(&compare::entries(runs)?, &Settings::default())? {
            for row in ranking.rows.iter().filter(|row| !row.entry.record().is_base()) {
                let label = format!("{} {}", row.entry.record().method, ranking.task);
                let color = series.len();
                let place = series.iter().position(|series| series.label == label).unwrap_or_else(|| {
                    series.push(Series { label, color, points: Vec::new() });
                    color
                });
                series[place].points.push((x, row.pooled.metric.value));
            }
        }
    }
    Ok(Some(Figure {
        name: "ablation".to_owned(),
        title: format!("Scores over {}", plan.setting),
        caption: "Means of the seeds on the test split.".to_owned(),
        plot: Plot::Curves(Curves {
            over: plan.setting.clone(),
            spacing: Spacing::Linear,
            quantity: "score".to_owned(),
            series,
        }),
    }))
}

/// Prints the table, and writes `summary.json` and `scenario.json`.
fn finish(
    queue: &Queue<'_>,
    args: &RunArgs,
    scenario: &Scenario,
    runs: Vec<Run>,
    notes: &Value,
    failures: Vec<String>,
) -> Result<()> {
    if !runs.is_empty() {
        let mut summary = compare::summarize(&runs, &Settings::default())?;
        for row in &mut summary.rows {
            row.scenario = Some(scenario.name.clone());
            row.stage = row.task.split_once(" in ").map(|(_, stage)| stage.to_owned());
        }
        summary.write(&queue.folder().join("summary.json"))?;
        let about = json!({ "scenario": scenario.name, "methods": args.method, "seeds": args.seed_count(), "notes": notes });
        let text = serde_json::to_string_pretty(&about).expect("it prints") + "\n";
        compare::write_whole(&queue.folder().join("scenario.json"), text.as_bytes())?;
        print(&run::table(&runs)?);
        Display::choose(args.quiet).say(&format!("records and adapters: {}", queue.folder().display()));
    }
    if interrupt::asked() {
        return Err(Error::Interrupted);
    }
    if failures.is_empty() { Ok(()) } else { Err(Error::Failed(failures.join("\n  "))) }
}
