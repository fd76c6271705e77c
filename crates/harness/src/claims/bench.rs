//! Where claims train: the built-in model on tasks of the built-in suite, each cell once.

use std::collections::BTreeMap;

use clap::Parser;
use compare::stats::{Scores, Settings, effect};
use compare::{Evidence, Outcome};

use super::Estimate;
use crate::Result;
use crate::cli::{Cli, Command, RunArgs};
use crate::config::{Experiment, resolve};
use crate::progress::{Display, Progress};
use crate::queue::Queue;
use crate::run::Finished;

/// How much is trained.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Seeds of every trained arm, from 0 on.
    pub seeds: u64,
    /// Optimizer steps of every cell.
    pub steps: u64,
    /// Folder of records and cells.
    pub out: std::path::PathBuf,
}

/// Of every trained cell that is compared by its items.
const TEST_ITEMS: u64 = 500;
const VALIDATION_ITEMS: u64 = 200;

impl Plan {
    /// The command line that stands for all runs of this plan.
    pub fn base_args(&self) -> RunArgs {
        self.run_args("lora", "nlu", &[])
    }

    /// The command line of a run with this plan.
    ///
    /// # Panics
    /// If a claim asks for what the command line does not have.
    pub fn run_args(&self, method: &str, task: &str, settings: &[String]) -> RunArgs {
        let Self { steps, out, .. } = self;
        let mut words: Vec<String> =
            ["harness", "run", "--quiet", "--device", "cpu", "--method", method, "--task", task]
                .map(str::to_owned)
                .into();
        words.extend([
            "--max-steps".to_owned(),
            steps.to_string(),
            "--out".to_owned(),
            out.display().to_string(),
        ]);
        let shortened = [
            format!("task.training.eval_every={steps}"),
            format!("tasks.nlu.data.builtin.nlu.items.test={TEST_ITEMS}"),
            format!("tasks.nlu.data.builtin.nlu.items.validation={VALIDATION_ITEMS}"),
            format!("tasks.safety.data.builtin.safety.items.test={TEST_ITEMS}"),
            format!("tasks.safety.data.builtin.safety.items.validation={VALIDATION_ITEMS}"),
        ];
        for setting in shortened.iter().chain(settings) {
            words.extend(["--set".to_owned(), setting.clone()]);
        }
        match Cli::try_parse_from(words).map(|cli| cli.command) {
            Ok(Some(Command::Run(args))) => args,
            other => panic!("a claim's command line is one of `run`: {other:?}"),
        }
    }
}

/// The cells of all claims.
pub struct Bench<'a> {
    plan: &'a Plan,
    base: &'a RunArgs,
    queue: Option<Queue<'a>>,
    display: Display,
}

impl<'a> Bench<'a> {
    /// Nothing is opened or loaded before a claim trains. `base` is [`Plan::base_args`].
    pub fn new(plan: &'a Plan, base: &'a RunArgs, display: Display) -> Self {
        Self { plan, base, queue: None, display }
    }

    /// Seeds of an arm.
    pub fn seeds(&self) -> std::ops::Range<u64> {
        0..self.plan.seeds
    }

    /// Steps of a cell.
    pub fn steps(&self) -> u64 {
        self.plan.steps
    }

    /// `120 steps of nlu, 3 seeds, 500 items`.
    pub fn size(&self, task: &str) -> String {
        let Plan { steps, seeds, .. } = self.plan;
        format!("built-in model, {steps} steps of {task} with {seeds} seeds, {TEST_ITEMS} test items")
    }

    /// Progress of something that is no cell.
    pub fn progress(&self, label: &str, steps: u64) -> Progress {
        self.display.start(label, steps)
    }

    /// The queue of all cells.
    ///
    /// # Errors
    /// If the folder cannot be written to.
    pub fn queue(&mut self) -> Result<&mut Queue<'a>> {
        if self.queue.is_none() {
            self.queue = Some(Queue::new(self.base, self.display)?);
        }
        Ok(self.queue.as_mut().expect("opened just now"))
    }

    /// A method on a task: the suite's settings with `settings` (`method.rank=8`) laid over.
    ///
    /// # Errors
    /// For a setting that the method does not have.
    pub fn arm(&self, method: &str, task: &str, settings: &[&str]) -> Result<Experiment> {
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        Ok(resolve(&self.plan.run_args(method, task, &settings))?.remove(0))
    }

    /// The arm with the learning rate that has the least loss on the validation split with seed 0. Three rates from `from`
    /// on are tried, each twice the one before, and more beyond the end at which the best of them lies.
    ///
    /// # Errors
    /// As training.
    pub fn tuned(
        &mut self,
        method: &str,
        task: &str,
        settings: &[&str],
        from: f64,
    ) -> Result<(Experiment, f64)> {
        const MOST: usize = 7;
        let mut tried: Vec<(f64, f64)> = Vec::new();
        let mut next = Some(from);
        while let Some(rate) = next {
            let arm = self.at_rate(method, task, settings, rate)?;
            let curves = &self.cell(&arm, 0)?.run.record.curves;
            let loss = curves.validation.get("loss").and_then(|points| points.last()?.value);
            tried.push((rate, loss.unwrap_or(f64::INFINITY)));
            tried.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (first, last) = (tried[0].0, tried[tried.len() - 1].0);
            next = match best(&tried) {
                _ if tried.len() >= MOST => None,
                _ if tried.len() < 3 => Some(2.0 * last),
                rate if rate == last => Some(2.0 * last),
                rate if rate == first => Some(first / 2.0),
                _ => None,
            };
        }
        let rate = best(&tried);
        Ok((self.at_rate(method, task, settings, rate)?, rate))
    }

    /// An arm with this learning rate, whatever the suite says.
    ///
    /// # Errors
    /// As [`Self::arm`].
    pub fn at_rate(&self, method: &str, task: &str, settings: &[&str], rate: f64) -> Result<Experiment> {
        let here = format!("method.optimizer.lr={rate:e}");
        let all: Vec<&str> = settings.iter().copied().chain([here.as_str()]).collect();
        self.arm(method, task, &all)
    }

    /// A trained cell, from the folder if it is there.
    ///
    /// # Errors
    /// Whatever the run refuses.
    pub fn cell(&mut self, arm: &Experiment, seed: u64) -> Result<&Finished> {
        let queue = self.queue()?;
        let key = queue.cell(arm, seed)?;
        Ok(queue.finished(&key))
    }

    /// What `of` finds in the cell of each seed.
    ///
    /// # Errors
    /// As training.
    pub fn each<T>(&mut self, arm: &Experiment, of: impl Fn(&Finished) -> Result<T>) -> Result<Vec<T>> {
        self.seeds().map(|seed| of(self.cell(arm, seed)?)).collect()
    }

    /// Scores of an arm by item and seed, on the task's first metric.
    ///
    /// # Errors
    /// As training.
    pub fn scores(&mut self, arm: &Experiment) -> Result<Scores> {
        let mut rows: BTreeMap<String, Vec<[f64; 1]>> = BTreeMap::new();
        let metric = &arm.task.scoring.metrics[0].name;
        for seed in self.seeds() {
            if let Evidence::Items(outcomes) = &self.cell(arm, seed)?.run.evidence {
                for Outcome { id, scores, .. } in outcomes {
                    rows.entry(id.clone()).or_default().push([scores[metric]]);
                }
            }
        }
        Ok(Scores::from_rows(rows.into_values()))
    }

    /// How much better `a` answers the test items than `b`, over items and seeds.
    ///
    /// # Errors
    /// As training.
    pub fn gain(&mut self, what: &str, a: &Experiment, b: &Experiment) -> Result<Estimate> {
        let (a, b) = (self.scores(a)?, self.scores(b)?);
        let effect = effect::paired(&a, &b, &Settings::default());
        let what = format!("{what} ({:.1} against {:.1} %)", 100.0 * a.mean(), 100.0 * b.mean());
        Ok(Estimate::new(what, effect.difference, effect.interval))
    }
}

/// The rate with the least loss.
fn best(tried: &[(f64, f64)]) -> f64 {
    tried.iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("a rate is tried").0
}

/// Mean training loss over a share of the steps, `0.5..1.0` being the second half.
pub(super) fn mean_loss(finished: &Finished, share: std::ops::Range<f64>) -> f64 {
    let points = &finished.run.record.curves.loss;
    let at = |share: f64| (share * points.len() as f64).round() as usize;
    let chosen = &points[at(share.start)..at(share.end)];
    chosen.iter().filter_map(|point| point.value).sum::<f64>() / chosen.len() as f64
}
