//! The checks of a gate.

use super::quantity::Change;
use super::sides::same_machine;
use crate::comparable::check_metric;
use crate::entry::{Entry, Pooled, Replication, check_one_task, entries};
use crate::error::{Error, Result};
use crate::metric::{Better, MetricValue};
use crate::ranking::compare;
use crate::record::RunRecord;
use crate::run::Run;
use crate::stats::effect::Effect;
use crate::stats::{Interval, Settings, holm};

/// How much worse is too much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Intervals and tests of scores.
    pub settings: Settings,
    /// How many times slower a training step may be, by the clock; `None` where clocks are not compared.
    pub slowdown: Option<f64>,
}

impl Bounds {
    /// A quarter slower: steps timed twice on a shared machine differ by a tenth and more.
    pub const SLOWDOWN: f64 = 1.25;
}

impl Default for Bounds {
    /// 95 %, and [`Bounds::SLOWDOWN`].
    fn default() -> Self {
        Self { settings: Settings::default(), slowdown: Some(Self::SLOWDOWN) }
    }
}

/// What a gate found.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// Every check, task by task, method by method.
    pub checks: Vec<Check>,
    /// What was asked.
    pub bounds: Bounds,
}

/// One thing checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The task.
    pub task: String,
    /// The method.
    pub method: String,
    /// What was compared, and what came out.
    pub finding: Finding,
    /// Whether that is acceptable.
    pub verdict: Verdict,
}

/// What was compared, and what came out.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// A score.
    Score(Box<ScoreChange>),
    /// Training steps per second.
    Speed {
        /// The baseline's.
        before: f64,
        /// The new one's.
        after: f64,
    },
    /// Something else that was measured.
    Quantity(Box<Change>),
    /// Nothing could be measured.
    Nothing,
}

/// A score, before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreChange {
    /// The metric, with its mean over items and seeds in the baseline.
    pub before: MetricValue,
    /// The baseline's interval, where there is evidence for one.
    pub interval: Option<Interval>,
    /// The same metric in the new runs.
    pub after: MetricValue,
    /// New minus baseline on common items and seeds; `None` without any.
    pub change: Option<Effect>,
    /// How often the less often made of the two was made.
    pub replication: Replication,
    /// p-value of the change after Holm's correction over all scores of the gate.
    pub adjusted_p: Option<f64>,
}

/// Whether a finding is acceptable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Passes,
    /// It is not, and why.
    Fails(String),
    /// It could not be decided, and why.
    Open(String),
}

impl Gate {
    /// Whether nothing failed.
    pub fn passes(&self) -> bool {
        self.failures().next().is_none()
    }

    /// A sentence for each check that failed.
    pub fn reasons(&self) -> Vec<String> {
        let reason = |check: &Check| match &check.verdict {
            Verdict::Fails(reason) => Some(format!("{} · {}: {reason}", check.task, check.method)),
            Verdict::Passes | Verdict::Open(_) => None,
        };
        self.checks.iter().filter_map(reason).collect()
    }

    /// The checks that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| matches!(check.verdict, Verdict::Fails(_)))
    }
}

/// Compares `new` runs with those of a `baseline`, each the newest of its place ([`crate::latest`]).
///
/// A score fails when it lies beyond the worse end of the baseline's interval, or when the test of its difference (on the
/// same items and seeds where both are known) finds it worse at the level of the bounds, Holm's correction over all
/// scores of the gate. Training speed fails when it fell by more than the bound's factor; on another machine it stays
/// open. What the baseline has and the new set lacks fails; what only the new set has stays open.
///
/// # Errors
/// Those of [`entries`] and [`Entry::pooled`]; [`Error::NothingCompared`] when no method on any task is in both.
pub fn gate(baseline: &[Run], new: &[Run], bounds: &Bounds) -> Result<Gate> {
    let (before, after) = (entries(baseline)?, entries(new)?);
    let common = |old: &Entry<'_>| after.iter().find(|new| place(new.record()) == place(old.record()));
    if !before.iter().any(|old| common(old).is_some()) {
        return Err(Error::NothingCompared);
    }
    let mut checks = Vec::new();
    for old in &before {
        match common(old) {
            None => checks.push(check(
                old,
                Finding::Nothing,
                Verdict::Fails("the new set has no run of it".into()),
            )),
            Some(new) => compare_entries(old, new, bounds, &mut checks)?,
        }
    }
    for new in &after {
        if !before.iter().any(|old| place(old.record()) == place(new.record())) {
            checks.push(check(new, Finding::Nothing, Verdict::Open("the baseline has no run of it".into())));
        }
    }
    decide(&mut checks, bounds.settings.alpha());
    Ok(Gate { checks, bounds: *bounds })
}

fn place(record: &RunRecord) -> (&str, &str) {
    (&record.task, &record.method)
}

fn check(entry: &Entry<'_>, finding: Finding, verdict: Verdict) -> Check {
    let record = entry.record();
    Check { task: record.task.clone(), method: record.method.clone(), finding, verdict }
}

fn compare_entries(old: &Entry<'_>, new: &Entry<'_>, bounds: &Bounds, checks: &mut Vec<Check>) -> Result<()> {
    if let Err(error) = check_one_task(&[old.clone(), new.clone()]) {
        checks.push(check(old, Finding::Nothing, Verdict::Fails(error.to_string())));
        return Ok(());
    }
    for metric in &old.record().metrics {
        let before = old.pooled(&metric.name, &bounds.settings)?.expect("the entry has the metric");
        let Some(after) = new.pooled(&metric.name, &bounds.settings)? else {
            let reason = format!("the new run has no `{}`", metric.name);
            checks.push(check(old, Finding::Nothing, Verdict::Fails(reason)));
            continue;
        };
        if let Err(error) = check_metric((old.record(), &before.metric), (new.record(), &after.metric)) {
            checks.push(check(old, Finding::Nothing, Verdict::Fails(error.to_string())));
            continue;
        }
        // Different seeds leave only the interval.
        let change = compare((new, &after), (old, &before), &bounds.settings).ok().map(|(effect, _)| effect);
        let replication = match (old.replication(), new.replication()) {
            (Replication::Seeds(a), Replication::Seeds(b)) => Replication::Seeds(a.min(b)),
            (Replication::Untrained, _) => Replication::Untrained,
            _ => Replication::OneSeed,
        };
        let Pooled { metric, interval, .. } = before;
        let score = ScoreChange {
            before: metric,
            interval,
            after: after.metric,
            change,
            replication,
            adjusted_p: None,
        };
        // Decided when the p-values of all scores are known.
        checks.push(check(old, Finding::Score(Box::new(score)), Verdict::Passes));
    }
    checks.extend(bounds.slowdown.and_then(|bound| speed(old, new, bound)));
    Ok(())
}

/// Corrects the p-values of all scores together and decides on each.
fn decide(checks: &mut [Check], alpha: f64) {
    let mut scores: Vec<(&mut Box<ScoreChange>, &mut Verdict)> = checks
        .iter_mut()
        .filter_map(|check| match &mut check.finding {
            Finding::Score(score) => Some((score, &mut check.verdict)),
            _ => None,
        })
        .collect();
    let tested: Vec<usize> = (0..scores.len()).filter(|&i| scores[i].0.change.is_some()).collect();
    let p_values: Vec<f64> =
        tested.iter().filter_map(|&i| Some(scores[i].0.change.as_ref()?.p_value)).collect();
    for (&i, adjusted) in tested.iter().zip(holm::adjust(&p_values)) {
        scores[i].0.adjusted_p = Some(adjusted);
    }
    for (score, verdict) in scores {
        *verdict = score.verdict(alpha);
    }
}

impl ScoreChange {
    fn verdict(&self, alpha: f64) -> Verdict {
        let (before, after) = (self.before.value, self.after.value);
        let worse = |a: f64, b: f64| match self.before.better {
            Better::Higher => a < b,
            Better::Lower => a > b,
        };
        if !worse(after, before) {
            return Verdict::Passes;
        }
        let Some(interval) = self.interval else {
            return Verdict::Open("it got worse, and there is no evidence for an interval".into());
        };
        let end = if self.before.better == Better::Higher { interval.low } else { interval.high };
        if worse(after, end) {
            return Verdict::Fails("worse than the baseline's interval".into());
        }
        match (&self.change, self.adjusted_p) {
            (Some(change), Some(p)) if p <= alpha => {
                Verdict::Fails(format!("worse on the same items ({}, p = {p:.2e})", change.test.label()))
            }
            _ => Verdict::Passes,
        }
    }
}

fn speed(old: &Entry<'_>, new: &Entry<'_>, bound: f64) -> Option<Check> {
    let (before, after) = (1.0 / old.mean(step_seconds)?, 1.0 / new.mean(step_seconds)?);
    let ratio = before / after;
    let verdict = if !same_machine(&old.record().environment, &new.record().environment) {
        Verdict::Open("measured on another machine, or with other threads".into())
    } else if ratio > bound {
        Verdict::Fails(format!("{ratio:.2} times as slow, allowed are {bound:.2}"))
    } else {
        Verdict::Passes
    };
    Some(check(old, Finding::Speed { before, after }, verdict))
}

/// Of this run's own phases; `None` for a run without training.
fn step_seconds(record: &RunRecord) -> Option<f64> {
    let seconds = record.phases.iter().map(|phase| phase.seconds).sum::<Option<f64>>()?;
    (record.steps() > 0 && seconds > 0.0).then(|| seconds / record.steps() as f64)
}
