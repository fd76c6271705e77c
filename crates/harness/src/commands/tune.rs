//! `tune`: one budget for every method, and what it buys.

use std::fmt::Write;
use std::path::Path;

use compare::plot::{Curves, Figure, Plot, Series, Spacing};
use compare::stats::{Settings, holm};
use compare::table::{TerminalStyle, listing};
use compare::{Run, Store};
use serde_json::json;

use super::{print, run, use_threads};
use crate::cli::{RunArgs, TuneArgs};
use crate::config::{Experiment, resolve};
use crate::progress::Display;
use crate::queue::{Queue, default_folder};
use crate::tune::{Trial, Tuned, combinations, find, tune};
use crate::{Error, Result, interrupt};

pub(super) fn execute(args: &TuneArgs) -> Result<()> {
    use_threads(args.run.model.threads);
    let out = args.run.out.clone().unwrap_or_else(|| default_folder("tune"));
    let run_args = RunArgs { out: Some(out), ..args.run.clone() };
    let experiments = in_order(resolve(&run_args)?);
    let combinations = combinations(&args.over)?;
    // Misspelt settings show before anything runs.
    for settings in &combinations {
        resolve(&RunArgs { set: [&run_args.set[..], settings].concat(), ..run_args.clone() })?;
    }
    let display = Display::choose(args.run.quiet);
    let mut queue = Queue::new(&run_args, display)?.apart();
    let mut work = Work { args, run_args: &run_args, display, found: Vec::new(), failures: Vec::new() };
    let searched = work.search(&mut queue, &experiments, &combinations);
    if !work.found.is_empty() {
        work.write(queue.folder())?;
        print(&trials(&work.found));
    }
    searched?;
    if !args.trials_only {
        work.compare(&mut queue, &experiments)?;
    }
    display.say(&format!("trials, records and adapters: {}", queue.folder().display()));
    if interrupt::asked() {
        return Err(Error::Interrupted);
    }
    run::outcome(&work.failures)
}

/// Methods whose output others need come first, so that these get that of the tuned one.
fn in_order(mut experiments: Vec<Experiment>) -> Vec<Experiment> {
    let depth = |experiment: &Experiment| {
        std::iter::successors(experiment.needed.as_deref(), |needed| needed.needed.as_deref()).count()
    };
    experiments.sort_by_key(depth);
    experiments
}

struct Work<'a> {
    args: &'a TuneArgs,
    run_args: &'a RunArgs,
    display: Display,
    found: Vec<Tuned>,
    failures: Vec<String>,
}

impl Work<'_> {
    /// What was chosen so far, as `--set` takes it.
    fn chosen(&self) -> Vec<String> {
        self.found.iter().flat_map(Tuned::assignments).collect()
    }

    fn search(
        &mut self,
        queue: &mut Queue<'_>,
        experiments: &[Experiment],
        combinations: &[Vec<String>],
    ) -> Result<()> {
        let budget = self.args.budget();
        for experiment in experiments {
            let name = format!("{} · {}", experiment.task.name, experiment.method.info.name);
            match tune(queue, self.run_args, experiment, &budget, combinations, &self.chosen()) {
                Ok(tuned) => {
                    let edge = if tuned.at_edge { ", the outermost that was tried" } else { "" };
                    let (lr, from) = (tuned.chosen().lr, tuned.default_lr);
                    self.display.say(&format!("{name}: learning rate {lr:e}{edge} (default {from:e})"));
                    self.found.push(tuned);
                    self.write(queue.folder())?;
                }
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                Err(error) => self.failures.push(format!("{name}: {error}")),
            }
        }
        Ok(())
    }

    /// After every search: what is found is kept, whatever becomes of the next.
    fn write(&self, folder: &Path) -> Result<()> {
        let about = json!({
            "budget": self.args.budget(),
            "over": self.args.over,
            "seed": self.run_args.seed,
            "tuned": self.found,
        });
        let text = serde_json::to_string_pretty(&about).expect("it prints") + "\n";
        compare::write_whole(&folder.join("tune.json"), text.as_bytes())?;
        compare::write_whole(&folder.join("tuned.toml"), self.overlay().as_bytes())?;
        for figure in sensitivity(&self.found) {
            compare::write_whole(&folder.join(format!("{}.svg", figure.name)), figure.svg().as_bytes())?;
            compare::write_whole(&folder.join(format!("{}.png", figure.name)), &figure.png())?;
        }
        Ok(())
    }

    /// What was chosen as a `--config` file.
    fn overlay(&self) -> String {
        let mut text = String::from("# Chosen on the validation split; for `--config`.\n");
        for tuned in &self.found {
            for assignment in tuned.assignments() {
                let (key, value) = assignment.split_once('=').expect("a key and a value");
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        text
    }

    /// Trains and scores what was chosen and the defaults with all seeds, and prints both.
    fn compare(&self, queue: &mut Queue<'_>, experiments: &[Experiment]) -> Result<()> {
        let set = [&self.run_args.set[..], &self.chosen()].concat();
        let of_tuned = resolve(&RunArgs { set, ..self.run_args.clone() })?;
        let pick = |from: &[Experiment]| -> Vec<Experiment> {
            let one = |tuned: &Tuned| find(from.to_vec(), &tuned.method, &tuned.task);
            self.found.iter().map(one).collect()
        };
        let (mut sides, settings) = (Vec::new(), Settings::default());
        for (name, side) in [("tuned", pick(&of_tuned)), ("default", pick(experiments))] {
            let runs = queue.run(&side)?;
            replace(&queue.folder().join(name), &runs)?;
            sides.push(runs);
        }
        let [tuned, default] = &sides[..] else { unreachable!("there are two sides") };
        if tuned.is_empty() {
            return Ok(());
        }
        compare::summarize(tuned, &settings)?.write(&queue.folder().join("summary.json"))?;
        print(&run::table(tuned)?);
        print(&beside(&self.found, tuned, default, &settings)?);
        Ok(())
    }
}

/// Makes `folder` hold these records and no others: an earlier search may have chosen otherwise.
fn replace(folder: &Path, runs: &[Run]) -> Result<()> {
    let new = folder.with_extension("tmp");
    let failed = |source| Error::Output { path: folder.to_owned(), source };
    for old in [&new, folder].into_iter().filter(|old| old.exists()) {
        std::fs::remove_dir_all(old).map_err(failed)?;
    }
    let store = Store::new(&new);
    for run in runs {
        store.save(run)?;
    }
    if runs.is_empty() { Ok(()) } else { std::fs::rename(&new, folder).map_err(failed) }
}

/// What was tried and chosen, line by line.
fn trials(found: &[Tuned]) -> String {
    let header = ["task", "method", "trials", "default rate", "chosen", "validation", "loss", ""];
    let rows = found.iter().map(|tuned| {
        let chosen = tuned.chosen();
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.3}"));
        let settings = chosen.settings.iter().map(|setting| setting.replace("method.", ""));
        let rate = std::iter::once(format!("{:e}", chosen.lr)).chain(settings).collect::<Vec<_>>().join(" ");
        vec![
            tuned.task.clone(),
            tuned.method.clone(),
            tuned.trials.len().to_string(),
            format!("{:e}", tuned.default_lr),
            rate,
            format!("{} {}", number(chosen.validation), tuned.metric),
            number(chosen.loss),
            if tuned.at_edge { "outermost that was tried".to_owned() } else { String::new() },
        ]
    });
    listing(&header, rows, TerminalStyle::detect())
}

/// What the default settings and the chosen ones score on the test items, and whether that differs.
fn beside(found: &[Tuned], tuned: &[Run], default: &[Run], settings: &Settings) -> Result<String> {
    /// A method's name where it runs with its default settings.
    const DEFAULT: &str = "default";
    let mut lines = Vec::new();
    for Tuned { method, task, default_lr, .. } in found {
        let of = |runs: &[Run]| -> Vec<Run> {
            let own = |run: &&Run| run.record.method == *method && run.record.task == *task;
            runs.iter().filter(own).cloned().collect()
        };
        let (mut both, mut others) = (of(tuned), of(default));
        if both.is_empty() || others.is_empty() {
            continue;
        }
        for run in &mut others {
            DEFAULT.clone_into(&mut run.record.method);
        }
        both.extend(others);
        let entries = compare::entries(&both)?;
        let ranking = compare::rank(&entries, None, settings)?;
        let row =
            |default: bool| ranking.rows.iter().find(|row| (row.entry.record().method == DEFAULT) == default);
        let (Some(before), Some(after)) = (row(true), row(false)) else { continue };
        let score = |row: &compare::Ranked<'_>| {
            let interval = row.pooled.interval.map_or(String::new(), |interval| {
                format!(" [{:.1}, {:.1}]", 100.0 * interval.low, 100.0 * interval.high)
            });
            format!("{:.1}{interval}", 100.0 * row.pooled.metric.value)
        };
        let p = ranking.comparisons.first().map(|comparison| comparison.effect.p_value);
        let gain = 100.0 * (after.pooled.metric.value - before.pooled.metric.value);
        let seeds = after.entry.seeds().len();
        let words = vec![
            task.clone(),
            method.clone(),
            format!("{default_lr:e}"),
            score(before),
            score(after),
            format!("{gain:+.1}"),
            seeds.to_string(),
        ];
        lines.push((words, p));
    }
    let p_values: Vec<f64> = lines.iter().filter_map(|(_, p)| *p).collect();
    let mut adjusted = holm::adjust(&p_values).into_iter();
    let rows = lines.into_iter().map(|(words, p)| {
        let differs = p.and_then(|_| adjusted.next()).map_or("–".to_owned(), |p| format!("{p:.3}"));
        [words, vec![differs]].concat()
    });
    let header = ["task", "method", "default rate", "default", "tuned", "gain", "seeds", "p (Holm)"];
    Ok(listing(&header, rows, TerminalStyle::detect()))
}

/// Scores over learning rates, a figure for each task.
fn sensitivity(found: &[Tuned]) -> Vec<Figure> {
    let mut tasks: Vec<&str> = found.iter().map(|tuned| tuned.task.as_str()).collect();
    tasks.dedup();
    tasks.sort_unstable();
    tasks.dedup();
    let mut methods: Vec<&str> = found.iter().map(|tuned| tuned.method.as_str()).collect();
    methods.sort_unstable();
    methods.dedup();
    let figure = |task: &&str| {
        let here: Vec<&Tuned> = found.iter().filter(|tuned| tuned.task == *task).collect();
        let series = here.iter().map(|tuned| {
            // Halving tries all rates only where runs are shortest.
            let shortest = tuned.trials.iter().map(|trial| trial.steps).min();
            let of_line =
                |trial: &&Trial| Some(trial.steps) == shortest && trial.settings == tuned.chosen().settings;
            let mut points: Vec<(f64, f64)> = tuned
                .trials
                .iter()
                .filter(of_line)
                .filter_map(|trial| Some((trial.lr, trial.validation?)))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let color = methods.iter().position(|method| *method == tuned.method).unwrap_or_default();
            Series { label: tuned.method.clone(), color, points }
        });
        Figure {
            name: format!("sensitivity-{task}"),
            title: format!("{task}: score over the learning rate"),
            caption: "All rates that were tried, on the validation split, one seed.".to_owned(),
            plot: Plot::Curves(Curves {
                over: "learning rate".to_owned(),
                spacing: Spacing::Logarithmic,
                quantity: format!("{} (validation)", here[0].metric),
                series: series.collect(),
            }),
        }
    };
    tasks.iter().map(figure).collect()
}
