//! Bootstrap over clusters of items and over seeds.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use statrs::distribution::ContinuousCDF;

use super::interval::{Interval, IntervalKind};
use super::scores::{Cell, Scores};
use super::{Settings, standard_normal};

/// Percentile interval of the mean; clusters and seeds are drawn independently with replacement.
///
/// Drawing rows and columns of a crossed design is Owen's pigeonhole bootstrap (Ann. Appl. Stat. 2007), slightly
/// conservative. With one seed it is the plain cluster bootstrap.
///
/// # Panics
/// When there is no score.
pub fn percentile(scores: &Scores, settings: &Settings) -> Interval {
    percentile_of(&resampled_means(scores, settings), kind(scores.seeds()), settings)
}

/// Percentile interval from the sorted values of the resamples.
pub(super) fn percentile_of(values: &[f64], kind: IntervalKind, settings: &Settings) -> Interval {
    let [low, high] = settings.tails().map(|tail| quantile(values, tail));
    Interval { low, high, kind }
}

/// Bias-corrected and accelerated interval of the mean of one seed (Efron 1987); the acceleration is that of the
/// jackknife over clusters.
///
/// # Panics
/// When there is no score or more than one seed.
pub fn bca(scores: &Scores, settings: &Settings) -> Interval {
    assert_eq!(scores.seeds(), 1, "the jackknife is over clusters of one seed");
    bca_of(&resampled_means(scores, settings), scores.mean(), &jackknife(scores), settings)
}

/// BCa interval from the sorted values of the resamples, the `estimate` from all clusters, and those without one each.
pub(super) fn bca_of(values: &[f64], estimate: f64, without: &[f64], settings: &Settings) -> Interval {
    let normal = standard_normal();
    let n = values.len() as f64;
    let below = values.partition_point(|&v| v < estimate) as f64;
    let not_above = values.partition_point(|&v| v <= estimate) as f64;
    // Never all on one side, which would make the bias infinite.
    let share = (f64::midpoint(below, not_above) / n).clamp(0.5 / n, 1.0 - 0.5 / n);
    let bias = normal.inverse_cdf(share);
    let acceleration = acceleration(without);
    let [low, high] = settings.tails().map(|tail| {
        let shifted = bias + normal.inverse_cdf(tail);
        let level = normal.cdf(bias + shifted / (1.0 - acceleration * shifted));
        quantile(values, level)
    });
    Interval { low, high, kind: IntervalKind::BootstrapClusters }
}

/// Percentile interval and two-sided p-value of `mean(a) − mean(b)`, rows and columns drawn for both alike.
///
/// The p-value is the smallest level whose interval excludes 0, at least `2 / (resamples + 1)`.
///
/// # Panics
/// When the two have different shapes or no score.
pub fn paired_difference(a: &Scores, b: &Scores, settings: &Settings) -> (Interval, f64) {
    assert_eq!((a.clusters(), a.seeds()), (b.clusters(), b.seeds()), "paired scores have one shape");
    let mut draws = Draws::new(a.clusters(), a.seeds(), settings.seed);
    let mut differences: Vec<f64> = (0..settings.resamples)
        .map(|_| {
            draws.next();
            draws.mean(a) - draws.mean(b)
        })
        .filter(|d| !d.is_nan())
        .collect();
    differences.sort_by(f64::total_cmp);
    let interval = percentile_of(&differences, kind(a.seeds()), settings);
    let at_most = differences.partition_point(|&d| d <= 0.0);
    let at_least = differences.len() - differences.partition_point(|&d| d < 0.0);
    let p = 2.0 * (at_most.min(at_least) + 1) as f64 / (differences.len() + 1) as f64;
    (interval, p.min(1.0))
}

/// What percentiles of a bootstrap over this many seeds are called.
pub(super) fn kind(seeds: usize) -> IntervalKind {
    if seeds == 1 { IntervalKind::BootstrapPercentile } else { IntervalKind::BootstrapClustersAndSeeds }
}

/// Whether every resample would have the same mean.
pub(crate) fn is_constant(scores: &Scores) -> bool {
    let mut means = scores.cells().iter().filter(|cell| cell.count > 0).map(|cell| cell.mean());
    let first = means.next();
    means.all(|mean| Some(mean) == first)
}

fn resampled_means(scores: &Scores, settings: &Settings) -> Vec<f64> {
    assert!(scores.total().count > 0, "there is no score to resample");
    let mut draws = Draws::new(scores.clusters(), scores.seeds(), settings.seed);
    let mut means: Vec<f64> = (0..settings.resamples)
        .map(|_| {
            draws.next();
            draws.mean(scores)
        })
        // A resample of nothing but empty cells has no mean.
        .filter(|mean| !mean.is_nan())
        .collect();
    means.sort_by(f64::total_cmp);
    means
}

/// Rows and columns drawn with replacement.
pub(super) struct Draws {
    rng: ChaCha8Rng,
    pub(super) rows: Vec<usize>,
    /// How often each column was drawn.
    pub(super) columns: Vec<u32>,
}

impl Draws {
    pub(super) fn new(clusters: usize, seeds: usize, seed: u64) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(seed), rows: vec![0; clusters], columns: vec![1; seeds] }
    }

    /// The draw of that number, whatever was drawn before: draws can be shared among threads.
    pub(super) fn nth(&mut self, number: usize) {
        self.rng.set_stream(number as u64);
        self.rng.set_word_pos(0);
        self.next();
    }

    fn next(&mut self) {
        let clusters = self.rows.len();
        for row in &mut self.rows {
            *row = index(&mut self.rng, clusters);
        }
        let seeds = self.columns.len();
        if seeds > 1 {
            self.columns.fill(0);
            for _ in 0..seeds {
                self.columns[index(&mut self.rng, seeds)] += 1;
            }
        }
    }

    fn mean(&self, scores: &Scores) -> f64 {
        let mut total = Cell::default();
        for &row in &self.rows {
            for (cell, &times) in scores.row(row).iter().zip(&self.columns) {
                total.sum += f64::from(times) * cell.sum;
                total.count += times * cell.count;
            }
        }
        total.mean()
    }
}

/// A uniform index below `n`, the same on every platform; the bias is under `n / 2³²`.
pub(crate) fn index(rng: &mut ChaCha8Rng, n: usize) -> usize {
    ((u64::from(rng.next_u32()) * n as u64) >> 32) as usize
}

/// Linear interpolation between order statistics (numpy's default).
fn quantile(sorted: &[f64], level: f64) -> f64 {
    let position = level.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = sorted[position.floor() as usize];
    let above = sorted[position.ceil() as usize];
    below + (above - below) * position.fract()
}

/// The means without each cell.
fn jackknife(scores: &Scores) -> Vec<f64> {
    let total = scores.total();
    scores
        .cells()
        .iter()
        .map(|cell| Cell { sum: total.sum - cell.sum, count: total.count - cell.count })
        .filter(|rest| rest.count > 0)
        .map(Cell::mean)
        .collect()
}

/// `Σd³ / 6(Σd²)^{3/2}` of the jackknife deviations `d = mean(θ₍.₎) − θ₍ᵢ₎`.
fn acceleration(without: &[f64]) -> f64 {
    let center = without.iter().sum::<f64>() / without.len() as f64;
    let moment = |power| without.iter().map(|theta| (center - theta).powi(power)).sum::<f64>();
    let spread = moment(2).powf(1.5);
    if spread > 0.0 { moment(3) / (6.0 * spread) } else { 0.0 }
}
