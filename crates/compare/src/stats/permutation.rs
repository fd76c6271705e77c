//! Paired permutation test: under "no difference", each cluster's two results could have been exchanged.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::Settings;
use super::scores::{Cell, Scores, sum};

/// Up to this many clusters that differ, all exchanges are enumerated.
const EXACT: usize = 16;

/// Relative slack when comparing a permuted statistic with the observed one; their sums are ordered differently.
const ROUNDING: f64 = 1e-12;

/// Two-sided p-value of `mean(a) = mean(b)`, exchanging whole clusters with all their seeds.
///
/// Exact up to 16 clusters that differ; otherwise Monte Carlo with `(k + 1) / (resamples + 1)`. It says
/// whether *these trained models* differ: seeds are taken as they are (for methods see [`super::crossed`]).
///
/// # Panics
/// When the shapes differ.
pub fn paired(a: &Scores, b: &Scores, settings: &Settings) -> f64 {
    assert_eq!((a.clusters(), a.seeds()), (b.clusters(), b.seeds()), "paired scores have one shape");
    let rows = || (0..a.clusters()).map(|row| (sum(a.row(row)), sum(b.row(row))));
    let differing: Vec<(Cell, Cell)> = rows().filter(|(a, b)| a != b).collect();
    let same: Vec<Cell> = rows().filter(|(a, b)| a == b).map(|(a, _)| a).collect();
    let same = sum(&same);
    let statistic = |exchanged: &mut dyn FnMut() -> bool| {
        let (mut first, mut second) = (same, same);
        for &(mut a, mut b) in &differing {
            if exchanged() {
                std::mem::swap(&mut a, &mut b);
            }
            first = sum([&first, &a]);
            second = sum([&second, &b]);
        }
        (first.mean() - second.mean()).abs()
    };
    let threshold = statistic(&mut || false) * (1.0 - ROUNDING);
    if differing.len() <= EXACT {
        let all = 1_u32 << differing.len();
        let extreme = (0..all).filter(|&pattern| {
            let mut bits = pattern;
            statistic(&mut || {
                let bit = bits & 1 == 1;
                bits >>= 1;
                bit
            }) >= threshold
        });
        return extreme.count() as f64 / f64::from(all);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
    let mut bits = Bits::default();
    let extreme =
        (0..settings.resamples).filter(|_| statistic(&mut || bits.next(&mut rng)) >= threshold).count();
    (extreme + 1) as f64 / (settings.resamples + 1) as f64
}

/// Single random bits.
#[derive(Default)]
pub(super) struct Bits {
    word: u64,
    left: u32,
}

impl Bits {
    pub(super) fn next(&mut self, rng: &mut ChaCha8Rng) -> bool {
        if self.left == 0 {
            (self.word, self.left) = (rng.next_u64(), u64::BITS);
        }
        self.left -= 1;
        let bit = self.word & 1 == 1;
        self.word >>= 1;
        bit
    }
}
