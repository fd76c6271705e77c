//! How often a gate on scores fails: for nothing, and for a loss.

use std::fmt::{Display, Formatter};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

use super::check::{Bounds, gate};
use crate::error::Result;
use crate::run::{Evidence, Run};
use crate::stats::Settings;

/// A simulated tree against the one that the baseline is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Simulated {
    /// Share of the items that change sides without getting better or worse together: another processor, other threads.
    pub discordance: f64,
    /// Share of all items that were right and are wrong.
    pub loss: f64,
    /// Whether all runs have the loss, or the first alone.
    pub everywhere: bool,
}

/// Simulated checks, a figure.
const ROUNDS: u32 = 200;
/// Permutations of a simulated test: the smallest p-value lies below the level of a check, divided by all of its scores.
const RESAMPLES: usize = 1500;
/// Losses that are looked at: of one run, and of all.
const LOSSES: (f64, f64) = (0.03, 0.01);

/// How often the tests of a gate's scores see a loss, and how often they see one that is not there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Share of answers that change without a loss.
    pub discordance: f64,
    /// Share of checks that fail without a loss.
    pub false_alarms: f64,
    /// A loss of one run, and the share of checks that find it.
    pub one: (f64, f64),
    /// A loss of all runs alike, and the share of checks that find it.
    pub all: (f64, f64),
}

/// The rates of a gate on runs like those of `baseline`, by simulation.
///
/// # Errors
/// Those of [`gate()`].
pub fn rates(baseline: &[Run], discordance: f64, bounds: &Bounds) -> Result<Rates> {
    let found =
        |loss, everywhere| rate(baseline, Simulated { discordance, loss, everywhere }, bounds, ROUNDS, 0);
    Ok(Rates {
        discordance,
        false_alarms: found(0.0, true)?,
        one: (LOSSES.0, found(LOSSES.0, false)?),
        all: (LOSSES.1, found(LOSSES.1, true)?),
    })
}

impl Display for Rates {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let percent = |share: f64| 100.0 * share;
        write!(
            f,
            "Scores, of {ROUNDS} simulated checks each: {:.1} % fail where {:.1} % of the answers change for nothing; {:.1} % find \
             a loss of {:.0} points in one cell, {:.1} % one of {:.0} point in all.",
            percent(self.false_alarms),
            percent(self.discordance),
            percent(self.one.1),
            percent(self.one.0),
            percent(self.all.1),
            percent(self.all.0)
        )
    }
}

/// The share of `rounds` in which the gate fails on runs made from those of the `baseline`.
///
/// Right answers turn wrong with probability `ψ/2p + d/p` and wrong ones right with `ψ/2(1 − p)`: `p` the share of right ones,
/// `ψ` the discordance, `d` the loss. Only scores of right and wrong change; the runs go through [`gate()`] itself.
///
/// # Errors
/// Those of [`gate()`].
pub fn rate(baseline: &[Run], simulated: Simulated, bounds: &Bounds, rounds: u32, seed: u64) -> Result<f64> {
    let settings = Settings { resamples: bounds.settings.resamples.min(RESAMPLES), ..bounds.settings };
    let bounds = Bounds { settings, slowdown: None };
    let slim: Vec<Run> = baseline.iter().map(without_texts).collect();
    let fails = |round: u32| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::from(round));
        let mut new = slim.clone();
        for (index, run) in new.iter_mut().enumerate() {
            let loss = if simulated.everywhere || index == 0 { simulated.loss } else { 0.0 };
            disturb(run, simulated.discordance, loss, &mut rng);
        }
        Ok(u32::from(!gate(&slim, &new, &bounds)?.passes()))
    };
    let failed: u32 = (0..rounds).into_par_iter().map(fails).sum::<Result<u32>>()?;
    Ok(f64::from(failed) / f64::from(rounds))
}

fn without_texts(run: &Run) -> Run {
    let mut run = run.clone();
    run.record.curves = crate::Curves::default();
    if let Evidence::Items(outcomes) = &mut run.evidence {
        for outcome in outcomes.iter_mut() {
            outcome.output.clear();
        }
    }
    run
}

/// Turns answers, and measures anew.
fn disturb(run: &mut Run, discordance: f64, loss: f64, rng: &mut ChaCha8Rng) {
    let Evidence::Items(outcomes) = &mut run.evidence else { return };
    for value in &mut run.record.metrics {
        let scores = || outcomes.iter().filter_map(|outcome| outcome.scores.get(&value.name).copied());
        if scores().any(|score| score != 0.0 && score != 1.0) {
            continue;
        }
        let right = scores().sum::<f64>() / scores().count().max(1) as f64;
        let (falls, rises) = ((discordance / 2.0 + loss) / right, discordance / 2.0 / (1.0 - right));
        for score in outcomes.iter_mut().filter_map(|outcome| outcome.scores.get_mut(&value.name)) {
            let turns = if *score == 1.0 { falls } else { rises };
            if uniform(rng) < turns {
                *score = 1.0 - *score;
            }
        }
        let scores: Vec<f64> =
            outcomes.iter().filter_map(|outcome| outcome.scores.get(&value.name).copied()).collect();
        value.value = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
    }
}

/// In `[0, 1)`.
fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    f64::from(rng.next_u32()) / 4_294_967_296.0
}
