//! How often intervals of statistics hold the truth and their tests cry wolf, by simulation.

use compare::stats::{Sample, Settings, Statistic, nonlinear};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use statrs::distribution::{ContinuousCDF, Normal};

/// Data sets per simulated rate.
const DATA_SETS: usize = 300;
/// Monte-Carlo error of a rate near 0.95 or 0.05: three standard errors.
const MONTE_CARLO: f64 = 0.038;

const SETTINGS: Settings = Settings { confidence: 0.95, resamples: 300, seed: 3 };

fn normal(rng: &mut ChaCha8Rng, sd: f64) -> f64 {
    sd * Normal::standard().inverse_cdf((rng.next_u64() as f64 + 0.5) / 2_f64.powi(64))
}

fn rate(seed: u64, mut holds: impl FnMut(&mut ChaCha8Rng) -> bool) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..DATA_SETS).filter(|_| holds(&mut rng)).count() as f64 / DATA_SETS as f64
}

/// Values and a method's predictions of them: an error of the item, of the item with this method, and of each seed, which
/// shrinks predictions more or less.
struct World {
    items: usize,
    seeds: usize,
    seed_sd: f64,
}

impl World {
    fn gold(&self, rng: &mut ChaCha8Rng) -> Vec<[f64; 2]> {
        (0..self.items).map(|_| [normal(rng, 1.0), normal(rng, 0.5)]).collect()
    }

    fn predictions(&self, statistic: Statistic, gold: &[[f64; 2]], rng: &mut ChaCha8Rng) -> Sample {
        let seeds: Vec<f64> = (0..self.seeds).map(|_| 1.0 + normal(rng, self.seed_sd)).collect();
        let rows: Vec<Vec<Vec<[f64; 2]>>> = gold
            .iter()
            .map(|[gold, error]| {
                let of_method = error + normal(rng, 0.5);
                let item = |slope: &f64| {
                    vec![[*gold, slope * gold + of_method + normal(rng, 0.5)].map(|v| class(statistic, v))]
                };
                seeds.iter().map(item).collect()
            })
            .collect();
        Sample::from_rows(statistic, rows)
    }
}

/// Classes are the sign.
fn class(statistic: Statistic, value: f64) -> f64 {
    if statistic == Statistic::Matthews { f64::from(value > 0.0) } else { value }
}

/// Correlation of a value with itself under errors of variance 0.75.
fn correlation() -> f64 {
    1.0 / 1.75_f64.sqrt()
}

/// What the statistic would be on endless items.
fn truth(statistic: Statistic) -> f64 {
    let quadrant = |rho: f64| 2.0 / std::f64::consts::PI * rho.asin();
    match statistic {
        Statistic::Pearson => correlation(),
        Statistic::Spearman => 6.0 / std::f64::consts::PI * (correlation() / 2.0).asin(),
        Statistic::Matthews => quadrant(correlation()),
        other => panic!("{other:?} is not simulated"),
    }
}

#[test]
fn one_seed() {
    let world = World { items: 120, seeds: 1, seed_sd: 0.0 };
    for (seed, statistic) in [(1, Statistic::Pearson), (2, Statistic::Spearman), (3, Statistic::Matthews)] {
        let covers = rate(seed, |rng| {
            let gold = world.gold(rng);
            let interval = nonlinear::interval(&world.predictions(statistic, &gold, rng), &SETTINGS).unwrap();
            (interval.low..=interval.high).contains(&truth(statistic))
        });
        let rejects = rate(seed, |rng| {
            let gold = world.gold(rng);
            let [a, b] = [0; 2].map(|_| world.predictions(statistic, &gold, rng));
            nonlinear::paired(&a, &b, &SETTINGS).p_value <= 0.05
        });
        println!("{statistic:?}: covers {covers}, rejects {rejects}");
        assert!((covers - 0.95).abs() < MONTE_CARLO, "{covers}");
        assert!((rejects - 0.05).abs() < MONTE_CARLO, "{rejects}");
    }
}

#[test]
fn several_seeds() {
    let world = World { items: 120, seeds: 3, seed_sd: 0.25 };
    for (seed, statistic) in [(4, Statistic::Pearson), (5, Statistic::Matthews)] {
        let (mut both, mut alone) = (0, 0);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..DATA_SETS {
            let gold = world.gold(&mut rng);
            let [a, b] = [0; 2].map(|_| world.predictions(statistic, &gold, &mut rng));
            both += usize::from(nonlinear::paired(&a, &b, &SETTINGS).p_value <= 0.05);
            alone += usize::from(nonlinear::approximate_randomization(&a, &b, &SETTINGS) <= 0.05);
        }
        let [both, alone] = [both, alone].map(|n| n as f64 / DATA_SETS as f64);
        println!("{statistic:?}: items and seeds {both}, items alone {alone}");
        assert!(both < 0.05 + MONTE_CARLO, "{both}");
        assert!(alone > 0.1, "{alone}");
    }
}
