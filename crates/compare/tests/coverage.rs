//! How often intervals hold the truth and tests cry wolf, by enumeration and by simulation.

use compare::stats::effect::{self, Test};
use compare::stats::mcnemar::Discordance;
use compare::stats::power::Plan;
use compare::stats::{Scores, Settings, bootstrap, interval, permutation, wilson};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use statrs::distribution::{Binomial, ContinuousCDF, Discrete, Normal};

/// Data sets per simulated rate.
const DATA_SETS: usize = 600;
/// Monte-Carlo error of a rate near 0.95 or 0.05: three standard errors.
const MONTE_CARLO: f64 = 0.027;

const SETTINGS: Settings = Settings { confidence: 0.95, resamples: 500, seed: 3 };

/// A share of simulated data sets.
fn rate(seed: u64, mut holds: impl FnMut(&mut ChaCha8Rng) -> bool) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..DATA_SETS).filter(|_| holds(&mut rng)).count() as f64 / DATA_SETS as f64
}

fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() as f64 + 0.5) / 2_f64.powi(64)
}

fn normal(rng: &mut ChaCha8Rng, sd: f64) -> f64 {
    sd * Normal::standard().inverse_cdf(uniform(rng))
}

/// Right/wrong answers: items and seeds of different difficulty on the probit scale.
struct World {
    items: usize,
    seeds: usize,
    /// Spread of the items.
    item_sd: f64,
    /// Spread of an item's difficulty between methods.
    item_method_sd: f64,
    /// Spread of a method's seeds; 0.1 is about 2.5 points of score.
    seed_sd: f64,
}

impl World {
    fn difficulties(&self, rng: &mut ChaCha8Rng) -> Vec<f64> {
        (0..self.items).map(|_| normal(rng, self.item_sd)).collect()
    }

    /// One method's answers; `shift` makes it better.
    fn answers(&self, difficulties: &[f64], shift: f64, rng: &mut ChaCha8Rng) -> Vec<Vec<[f64; 1]>> {
        let seeds: Vec<f64> = (0..self.seeds).map(|_| normal(rng, self.seed_sd)).collect();
        difficulties
            .iter()
            .map(|difficulty| {
                let own = difficulty + normal(rng, self.item_method_sd);
                seeds.iter().map(|seed| [f64::from(own + seed + shift + normal(rng, 1.0) > 0.0)]).collect()
            })
            .collect()
    }

    /// The score over all items and seeds there could be.
    fn truth(&self, shift: f64) -> f64 {
        let sd = (1.0 + self.item_sd.powi(2) + self.item_method_sd.powi(2) + self.seed_sd.powi(2)).sqrt();
        Normal::standard().cdf(shift / sd)
    }
}

const THREE_SEEDS: World = World { items: 500, seeds: 3, item_sd: 1.0, item_method_sd: 0.6, seed_sd: 0.1 };

/// Every item a cluster that holds its seeds: what pooling over items alone looks at.
fn items_alone(rows: &[Vec<[f64; 1]>]) -> Scores {
    Scores::from_rows(rows.iter().map(|row| [row.concat()]))
}

#[test]
fn wilson_covers_on_average_what_it_says() {
    let n = 200;
    let coverage = |p: f64| {
        let binomial = Binomial::new(p, n).unwrap();
        let holds = |k: &u64| {
            let i = wilson(*k as f64, n as f64, 0.95);
            (i.low..=i.high).contains(&p)
        };
        (0..=n).filter(holds).map(|k| binomial.pmf(k)).sum::<f64>()
    };
    let all: Vec<f64> = (1..200).map(|i| coverage(f64::from(i) / 200.0)).collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    assert!((0.948..0.957).contains(&mean), "{mean}");
    assert!(all.iter().all(|&c| c > 0.90));
}

#[test]
fn bonett_price_covers_paired_differences() {
    let n = 40_u64;
    for (p, q) in [(0.1, 0.1), (0.2, 0.1), (0.05, 0.02), (0.3, 0.1), (0.01, 0.01)] {
        let mut coverage = 0.0;
        for only_a in 0..=n {
            let first = Binomial::new(p, n).unwrap().pmf(only_a);
            for only_b in 0..=n - only_a {
                let i = Discordance { only_a, only_b, items: n }.interval(0.95);
                if (i.low..=i.high).contains(&(p - q)) {
                    coverage += first * Binomial::new(q / (1.0 - p), n - only_a).unwrap().pmf(only_b);
                }
            }
        }
        assert!(coverage > 0.94, "{coverage} at {p}, {q}");
    }
}

#[test]
fn mcnemar_keeps_its_level() {
    let world = World { seeds: 1, seed_sd: 0.0, ..THREE_SEEDS };
    let rejects = rate(1, |rng| {
        let items = world.difficulties(rng);
        let [a, b] = [0.0; 2].map(|shift| Scores::from_rows(world.answers(&items, shift, rng)));
        let effect = effect::paired(&a, &b, &SETTINGS);
        assert_eq!(effect.test, Test::McNemarMidP);
        effect.p_value <= 0.05
    });
    assert!((rejects - 0.05).abs() < MONTE_CARLO, "{rejects}");
}

#[test]
fn real_scores_of_one_seed() {
    let covers = rate(2, |rng| {
        let scores: Vec<f64> = (0..80).map(|_| normal(rng, 1.0).exp()).collect();
        let i = interval::of_mean(&Scores::from_items(&scores), &SETTINGS).unwrap();
        (i.low..=i.high).contains(&0.5_f64.exp())
    });
    println!("log-normal, 80 items: {covers}");
    // Heavy tails in few items are hard for every interval.
    assert!((0.88..0.97).contains(&covers), "{covers}");

    let rejects = rate(3, |rng| {
        let [a, b] =
            [0; 2].map(|_| Scores::from_items(&(0..80).map(|_| normal(rng, 1.0).exp()).collect::<Vec<_>>()));
        permutation::paired(&a, &b, &SETTINGS) <= 0.05
    });
    assert!((rejects - 0.05).abs() < MONTE_CARLO, "{rejects}");
}

#[test]
fn clusters_of_one_seed() {
    // Pairs of items that agree more often than not.
    let covers = rate(4, |rng| {
        let pairs: Vec<[Vec<f64>; 1]> = (0..150)
            .map(|_| {
                let pair = normal(rng, 1.0);
                [(0..2).map(|_| f64::from(pair + normal(rng, 0.5) > 0.0)).collect()]
            })
            .collect();
        let i = interval::of_mean(&Scores::from_rows(pairs), &SETTINGS).unwrap();
        (i.low..=i.high).contains(&0.5)
    });
    assert!((covers - 0.95).abs() < MONTE_CARLO, "{covers}");
}

#[test]
fn seeds_pooled() {
    for (seed, seed_sd, items_alone_holds) in [(5, 0.0, true), (6, 0.1, false)] {
        let world = World { seed_sd, ..THREE_SEEDS };
        let truth = world.truth(0.3);
        let (mut both, mut alone) = (0, 0);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..DATA_SETS {
            let items = world.difficulties(&mut rng);
            let rows = world.answers(&items, 0.3, &mut rng);
            let alone_interval = bootstrap::percentile(&items_alone(&rows), &SETTINGS);
            let interval = interval::of_mean(&Scores::from_rows(rows), &SETTINGS).unwrap();
            both += usize::from((interval.low..=interval.high).contains(&truth));
            alone += usize::from((alone_interval.low..=alone_interval.high).contains(&truth));
        }
        let [both, alone] = [both, alone].map(|n| n as f64 / DATA_SETS as f64);
        println!("seed sd {seed_sd}: items and seeds {both}, items alone {alone}");
        assert!(both > 0.95 - MONTE_CARLO, "{both}");
        assert_eq!(alone > 0.95 - MONTE_CARLO, items_alone_holds, "{alone}");
    }
}

#[test]
fn equal_methods_with_seeds_pooled() {
    for (seed, items, seeds, seed_sd) in [(7, 500, 3, 0.0), (8, 500, 3, 0.1), (9, 500, 5, 0.1)] {
        let world = World { items, seeds, seed_sd, ..THREE_SEEDS };
        let (mut both, mut alone) = (0, 0);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..DATA_SETS {
            let items = world.difficulties(&mut rng);
            let [a, b] = [0.0; 2].map(|shift| world.answers(&items, shift, &mut rng));
            alone += usize::from(permutation::paired(&items_alone(&a), &items_alone(&b), &SETTINGS) <= 0.05);
            let effect = effect::paired(&Scores::from_rows(a), &Scores::from_rows(b), &SETTINGS);
            assert_eq!(effect.test, Test::CrossedT);
            both += usize::from(effect.p_value <= 0.05);
        }
        let [both, alone] = [both, alone].map(|n| n as f64 / DATA_SETS as f64);
        println!("{items} items, {seeds} seeds, sd {seed_sd}: items and seeds {both}, items alone {alone}");
        assert!(both < 0.05 + MONTE_CARLO, "{both}");
        if seed_sd > 0.0 {
            assert!(alone > 0.1, "{alone}");
        }
    }
}

#[test]
fn plans_predict_the_power_of_the_test_with_seeds() {
    /// What a normal approximation and estimated noise may cost.
    const APPROXIMATION: f64 = 0.06;
    let (world, shift) = (World { seed_sd: 0.06, seeds: 5, ..THREE_SEEDS }, 0.2);
    // The noise a plan needs, estimated from a large pilot.
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let pilot = World { items: 4000, seeds: 40, ..world };
    let items = pilot.difficulties(&mut rng);
    let [a, b] = [shift, 0.0].map(|shift| Scores::from_rows(pilot.answers(&items, shift, &mut rng)));
    let plan = Plan { seeds: 5, ..Plan::of_pilot(&a, &b).unwrap() };
    let predicted = plan.power(world.truth(shift) - world.truth(0.0), world.items as u64).unwrap();
    let found = rate(12, |rng| {
        let items = world.difficulties(rng);
        let [a, b] = [shift, 0.0].map(|shift| Scores::from_rows(world.answers(&items, shift, rng)));
        effect::paired(&a, &b, &SETTINGS).p_value <= 0.05
    });
    println!("predicted {predicted}, found {found}");
    assert!((0.3..0.95).contains(&found) && (predicted - found).abs() < APPROXIMATION);
}
