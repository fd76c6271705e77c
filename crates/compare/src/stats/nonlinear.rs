//! Intervals and tests of statistics that are no mean over items.
//!
//! What is exact for a mean holds here for the statistic's linearization, its jackknife: the influence of a cluster is
//! `(C − 1)(mean(θ₍.₎) − θ₍ᵢ₎)`, with `θ₍ᵢ₎` the statistic of the other `C − 1` clusters.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;

use super::bootstrap::{Draws, bca_of, kind, percentile_of};
use super::cells::{Cells, Scratch};
use super::effect::{Effect, Test};
use super::interval::Interval;
use super::permutation::Bits;
use super::sample::Sample;
use super::{Settings, crossed};

/// Slack when comparing an exchanged difference with the observed one, relative to the two values: sums are ordered
/// differently.
const ROUNDING: f64 = 1e-12;

/// The interval of a statistic: BCa bootstrap over clusters for one seed, percentile bootstrap over clusters and seeds for
/// several. `None` where every resample gives the same, as there is nothing to learn from them.
pub fn interval(sample: &Sample, settings: &Settings) -> Option<Interval> {
    let sample = &sample.without_empty();
    let (cells, seeds) = (Cells::new(sample), sample.seeds());
    let values = resampled(&cells, seeds, settings, |draws, scratch| drawn(&cells, draws, 0, scratch));
    if values.first() == values.last() {
        return None;
    }
    Some(if seeds == 1 {
        bca_of(&values, sample.value(), &without_each(&cells, 0), settings)
    } else {
        percentile_of(&values, kind(seeds), settings)
    })
}

/// Compares two methods on the same clusters and seeds.
///
/// One seed: approximate randomization (Noreen 1989), where under "no difference" each cluster's two results could have been
/// exchanged, and a percentile bootstrap over clusters. Several seeds: Student's t with variance components of clusters
/// and seeds ([`crossed`]) on the jackknife's influences, as for means.
///
/// # Panics
/// When the shapes or the statistics differ, or a side has no value.
pub fn paired(a: &Sample, b: &Sample, settings: &Settings) -> Effect {
    let both = Sample::beside(a, b);
    let (cells, seeds) = (Cells::new(&both), a.seeds());
    let difference = a.value() - b.value();
    assert!(!difference.is_nan(), "both sides have a value");
    let effect = |interval, p_value, test| Effect {
        difference,
        interval,
        p_value,
        test,
        odds_ratio: None,
        cohen_h: None,
        cohen_d: None,
    };
    if seeds > 1 && cells.clusters() > 1 {
        let crossed = crossed_difference(&cells, seeds, difference);
        return effect(crossed.interval(settings), crossed.p_value(), Test::CrossedT);
    }
    let differences = resampled(&cells, seeds, settings, |draws, scratch| {
        drawn(&cells, draws, 0, scratch) - drawn(&cells, draws, seeds, scratch)
    });
    let interval = percentile_of(&differences, kind(seeds), settings);
    effect(interval, randomization(&cells, seeds, settings), Test::Permutation)
}

/// Two-sided p-value of approximate randomization: whole clusters with all their seeds are exchanged.
///
/// All exchanges are enumerated where they are no more than the resamples; otherwise Monte Carlo with
/// `(k + 1) / (resamples + 1)`. It says whether *these trained models* differ: seeds are taken as they are.
///
/// # Panics
/// When the shapes or the statistics differ.
pub fn approximate_randomization(a: &Sample, b: &Sample, settings: &Settings) -> f64 {
    randomization(&Cells::new(&Sample::beside(a, b)), a.seeds(), settings)
}

fn randomization(cells: &Cells<'_>, seeds: usize, settings: &Settings) -> f64 {
    let differs = |row: &usize| {
        (0..seeds).map(|seed| row * cells.columns() + seed).any(|cell| !cells.same(cell, cell + seeds))
    };
    let differing: Vec<usize> = (0..cells.clusters()).filter(differs).collect();
    let sides = |exchanged: &[bool], scratch: &mut Scratch| {
        [0, seeds].map(|side| {
            let value = |seed: usize| {
                let cell = |row: usize| {
                    row * cells.columns() + seed + if exchanged[row] { seeds - side } else { side }
                };
                cells.value((0..exchanged.len()).map(cell), scratch)
            };
            (0..seeds).map(value).sum::<f64>() / seeds as f64
        })
    };
    let mut exchanged = vec![false; cells.clusters()];
    let [a, b] = sides(&exchanged, &mut cells.scratch());
    let threshold = (a - b).abs() - ROUNDING * (a.abs() + b.abs());
    let extreme = |exchanged: &[bool], scratch: &mut Scratch| {
        let [a, b] = sides(exchanged, scratch);
        // An exchange without a value counts against a difference.
        (a - b).is_nan() || (a - b).abs() >= threshold
    };
    let all = u32::try_from(differing.len()).ok().and_then(|n| 1_usize.checked_shl(n));
    if let Some(all) = all.filter(|&all| all <= settings.resamples) {
        let mut scratch = cells.scratch();
        let count = (0..all).filter(|pattern| {
            for (bit, &row) in differing.iter().enumerate() {
                exchanged[row] = pattern >> bit & 1 == 1;
            }
            extreme(&exchanged, &mut scratch)
        });
        return count.count() as f64 / all as f64;
    }
    let state = || (ChaCha8Rng::seed_from_u64(settings.seed), exchanged.clone(), cells.scratch());
    let count =
        (0..settings.resamples).into_par_iter().map_init(state, |(rng, exchanged, scratch), number| {
            rng.set_stream(number as u64);
            rng.set_word_pos(0);
            let mut bits = Bits::default();
            for &row in &differing {
                exchanged[row] = bits.next(rng);
            }
            usize::from(extreme(exchanged, scratch))
        });
    (count.sum::<usize>() + 1) as f64 / (settings.resamples + 1) as f64
}

/// The sorted values of the resamples that have one.
fn resampled(
    cells: &Cells<'_>,
    seeds: usize,
    settings: &Settings,
    value: impl Fn(&Draws, &mut Scratch) -> f64 + Sync,
) -> Vec<f64> {
    let state = || (Draws::new(cells.clusters(), seeds, settings.seed), cells.scratch());
    let mut values: Vec<f64> = (0..settings.resamples)
        .into_par_iter()
        .map_init(state, |(draws, scratch), number| {
            draws.nth(number);
            value(draws, scratch)
        })
        .filter(|value| !value.is_nan())
        .collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The mean over the drawn seeds of the statistic over the drawn clusters; `side` is the first column.
fn drawn(cells: &Cells<'_>, draws: &Draws, side: usize, scratch: &mut Scratch) -> f64 {
    let mut sum = 0.0;
    for (seed, &times) in draws.columns.iter().enumerate().filter(|(_, times)| **times > 0) {
        let of_rows = draws.rows.iter().map(|row| row * cells.columns() + side + seed);
        sum += f64::from(times) * cells.value(of_rows, scratch);
    }
    sum / draws.columns.len() as f64
}

/// The values of one column without each cluster; where that has none, the value with it.
fn without_each(cells: &Cells<'_>, column: usize) -> Vec<f64> {
    let all = cells.value(cells.column(column), &mut cells.scratch());
    (0..cells.clusters())
        .into_par_iter()
        .map_init(
            || cells.scratch(),
            |scratch, row| {
                let left_out = row * cells.columns() + column;
                let value = cells.value(cells.column(column).filter(|&cell| cell != left_out), scratch);
                if value.is_nan() { all } else { value }
            },
        )
        .collect()
}

/// Variance components of the difference of two halves of the columns.
fn crossed_difference(cells: &Cells<'_>, seeds: usize, difference: f64) -> crossed::Crossed {
    let clusters = cells.clusters();
    let mut centered = vec![-difference; clusters * seeds];
    for (column, sign) in (0..2 * seeds).map(|column| (column, if column < seeds { 1.0 } else { -1.0 })) {
        let value = cells.value(cells.column(column), &mut cells.scratch());
        let without = without_each(cells, column);
        let mean = without.iter().sum::<f64>() / clusters as f64;
        for (row, theta) in without.iter().enumerate() {
            let influence = (clusters - 1) as f64 * (mean - theta);
            centered[row * seeds + column % seeds] += sign * (value + influence);
        }
    }
    crossed::analyze(&centered, seeds, difference)
}
