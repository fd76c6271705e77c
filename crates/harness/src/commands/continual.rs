//! `continual`: tasks one after another, and the matrix of what is left of each.

use compare::MetricValue;
use compare::table::{TerminalStyle, listing};
use serde_json::json;

use super::{print, use_threads};
use crate::cli::{ContinualArgs, RunArgs};
use crate::config::{Experiment, resolve};
use crate::continual::{Learned, References, learn};
use crate::progress::Display;
use crate::queue::Queue;
use crate::{Error, Result};

pub(super) fn execute(args: &ContinualArgs) -> Result<()> {
    sequences(args, std::slice::from_ref(&args.run.task))
}

/// Learns every one of `sequences` of tasks; all go into one `continual.json`.
pub(super) fn sequences(args: &ContinualArgs, sequences: &[Vec<String>]) -> Result<()> {
    use_threads(args.run.model.threads);
    let display = Display::choose(args.run.quiet);
    if !(0.0..=1.0).contains(&args.replay) {
        return Err(Error::Usage(format!("`--replay {}` is no share between 0 and 1", args.replay)));
    }
    let (mut learned, mut failures) = (Vec::new(), Vec::new());
    for tasks in sequences {
        let run = RunArgs { task: tasks.clone(), ..args.run.clone() };
        one(&run, args, &mut learned, &mut failures)?;
    }
    if let Some(folder) = &args.run.out {
        display.say(&format!("records and adapters: {}", folder.display()));
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::Failed(format!("{} sequences failed:\n  {}", failures.len(), failures.join("\n  "))))
}

/// One sequence by every method under every seed, added to `learned`.
fn one(
    run: &RunArgs,
    args: &ContinualArgs,
    learned: &mut Vec<serde_json::Value>,
    failures: &mut Vec<String>,
) -> Result<()> {
    let experiments = resolve(run)?;
    let mut methods: Vec<&str> = Vec::new();
    for experiment in &experiments {
        if !methods.contains(&experiment.method.info.name) {
            methods.push(experiment.method.info.name);
        }
    }
    if experiments.len() < 2 * methods.len() {
        return Err(Error::Usage("a sequence needs two tasks: `--task safety,nlu`".to_owned()));
    }
    let references = References { replay: args.replay, joint: args.joint };
    let display = Display::choose(run.quiet);
    let mut queue = Queue::new(run, display)?;
    let path = queue.folder().join("continual.json");
    for method in methods {
        let own: Vec<&Experiment> = experiments.iter().filter(|e| e.method.info.name == method).collect();
        for seed in run.all_seeds() {
            match learn(&mut queue, &own, seed, references) {
                Ok(one) => {
                    print(&table(&one));
                    learned.push(to_json(&one));
                    // After every sequence: what is measured is kept, whatever becomes of the next.
                    let text = serde_json::to_string_pretty(learned).expect("it prints") + "\n";
                    compare::write_whole(&path, text.as_bytes())?;
                }
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                Err(error) => failures.push(format!("{method} · seed {seed}: {error}")),
            }
        }
    }
    if args.run.out.is_none() {
        display.say(&format!("records and adapters: {}", queue.folder().display()));
    }
    Ok(())
}

fn to_json(learned: &Learned) -> serde_json::Value {
    json!({
        "scenario": "continual",
        "method": learned.method,
        "seed": learned.seed,
        "sequence": learned.sequence,
        "average": learned.sequence.average(),
        "backward_transfer": learned.sequence.backward_transfer(),
        "forward_transfer": learned.sequence.forward_transfer(),
        "joint": learned.joint,
    })
}

fn table(learned: &Learned) -> String {
    let sequence = &learned.sequence;
    let mut header = vec!["after"];
    header.extend(sequence.tasks.iter().map(String::as_str));
    let cells = |name: String, scores: &[Option<MetricValue>]| {
        let score = |score: &Option<MetricValue>| score.as_ref().map_or("–".to_owned(), percent);
        std::iter::once(name).chain(scores.iter().map(score)).collect::<Vec<String>>()
    };
    let mut rows = vec![cells("nothing".to_owned(), &sequence.before)];
    rows.extend(sequence.tasks.iter().zip(&sequence.after).map(|(task, row)| cells(task.clone(), row)));
    rows.extend(learned.joint.iter().map(|row| cells("all at once".to_owned(), row)));
    let points = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{:.1}", 100.0 * value));
    format!(
        "{} · seed {}\n{}\naverage {} · backward transfer {} · forward transfer {}",
        learned.method,
        learned.seed,
        listing(&header, rows, TerminalStyle::detect()),
        points(sequence.average()),
        points(sequence.backward_transfer()),
        points(sequence.forward_transfer()),
    )
}

fn percent(score: &MetricValue) -> String {
    match score.scale {
        compare::Scale::Fraction => format!("{:.1}", 100.0 * score.value),
        compare::Scale::Plain => format!("{:.3}", score.value),
    }
}
