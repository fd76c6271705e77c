//! Statistics against scipy, statsmodels and networkx; `golden/generate.py` made the numbers.

use std::collections::BTreeSet;

use compare::stats::mcnemar::Discordance;
use compare::stats::power::{Pairing, Plan, SeedNoise};
use compare::stats::proportions::{self, Proportion};
use compare::stats::{Scores, Settings, bootstrap, crossed, effect, holm, letters, permutation, wilson};
use serde_json::Value;

/// Closed forms and distribution functions: two implementations differ by rounding only.
const ROUNDING: f64 = 1e-9;
/// Quantiles found by iteration.
const ITERATION: f64 = 1e-7;

fn cases(section: &str) -> Vec<Value> {
    let golden: Value = serde_json::from_str(include_str!("golden/golden.json")).unwrap();
    let cases = golden[section].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

fn number(case: &Value, key: &str) -> f64 {
    case[key].as_f64().unwrap_or_else(|| panic!("`{key}` is a number in {case}"))
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[track_caller]
fn assert_close(ours: f64, theirs: f64, tolerance: f64) {
    let allowed = tolerance * theirs.abs().max(1.0);
    assert!((ours - theirs).abs() <= allowed, "ours {ours}, reference {theirs}, allowed {allowed:e}");
}

#[test]
fn wilson_intervals() {
    for case in cases("wilson") {
        let ours = wilson(number(&case, "successes"), number(&case, "n"), number(&case, "confidence"));
        assert_close(ours.low, number(&case, "low"), ROUNDING);
        assert_close(ours.high, number(&case, "high"), ROUNDING);
    }
}

#[test]
fn mcnemar_mid_p_and_odds() {
    for case in cases("mcnemar") {
        let count = |key| case[key].as_u64().unwrap();
        let table = Discordance { only_a: count("only_a"), only_b: count("only_b"), items: count("items") };
        assert_close(table.mid_p(), number(&case, "mid_p"), ROUNDING);
        match table.odds_interval(0.95) {
            None => assert!(case["odds_low"].is_null()),
            Some((low, high)) => {
                assert_close(low, number(&case, "odds_low"), ITERATION);
                match case["odds_high"].as_f64() {
                    Some(expected) => assert_close(high, expected, ITERATION),
                    None => assert!(high.is_infinite()),
                }
            }
        }
    }
}

#[test]
fn two_independent_proportions() {
    for case in cases("proportions") {
        let a = Proportion { value: number(&case, "a"), n: number(&case, "m") };
        let b = Proportion { value: number(&case, "b"), n: number(&case, "n") };
        assert_close(proportions::z_test(a, b), number(&case, "p_value"), ROUNDING);
        let interval = proportions::newcombe(a, b, 0.95);
        assert_close(interval.low, number(&case, "low"), ROUNDING);
        assert_close(interval.high, number(&case, "high"), ROUNDING);
        assert_close(proportions::cohen_h(a.value, b.value), number(&case, "cohen_h"), ROUNDING);
    }
}

#[test]
fn holm_correction() {
    for case in cases("holm") {
        for (ours, theirs) in holm::adjust(&numbers(&case["p"])).into_iter().zip(numbers(&case["adjusted"])) {
            assert_close(ours, theirs, ROUNDING);
        }
    }
}

/// Both sides draw at random: ends may differ by five Monte-Carlo standard errors of ours (the same number of resamples
/// as one of the reference's), whose mean over twelve repetitions is nearly exact.
#[track_caller]
fn assert_ends(ours: compare::stats::Interval, reference: &Value) {
    for (ours, theirs) in [(ours.low, number(reference, "low")), (ours.high, number(reference, "high"))] {
        let allowed = 5.0 * number(reference, "error");
        assert!((ours - theirs).abs() < allowed, "ours {ours}, reference {theirs}, allowed {allowed}");
    }
}

const AS_MANY: Settings = Settings { confidence: 0.95, resamples: 20_000, seed: 1 };

#[test]
fn bootstrap_over_clusters() {
    for case in cases("bootstrap") {
        let clusters = case["clusters"].as_array().unwrap();
        let scores = Scores::from_rows(clusters.iter().map(|cluster| [numbers(cluster)]));
        assert_ends(bootstrap::percentile(&scores, &AS_MANY), &case["percentile"]);
        assert_ends(bootstrap::bca(&scores, &AS_MANY), &case["BCa"]);
    }
}

#[test]
fn bootstrap_over_clusters_and_seeds() {
    for case in cases("pigeonhole") {
        assert_ends(bootstrap::percentile(&table(&case["scores"]), &AS_MANY), &case);
    }
}

fn table(scores: &Value) -> Scores {
    let rows = scores.as_array().unwrap();
    Scores::from_rows(
        rows.iter().map(|row| numbers(row).into_iter().map(|score| [score]).collect::<Vec<_>>()),
    )
}

#[test]
fn paired_permutation() {
    for case in cases("permutation") {
        let (a, b) = (numbers(&case["a"]), numbers(&case["b"]));
        let settings = Settings { resamples: 20_000, ..Settings::default() };
        let ours = permutation::paired(&Scores::from_items(&a), &Scores::from_items(&b), &settings);
        let theirs = number(&case, "p_value");
        let monte_carlo = 5.0 * (theirs * (1.0 - theirs) / settings.resamples as f64).sqrt();
        let allowed = if case["exact"] == true { ROUNDING } else { monte_carlo };
        assert!((ours - theirs).abs() <= allowed, "ours {ours}, reference {theirs}, allowed {allowed:e}");
    }
}

#[test]
fn variance_over_items_and_seeds() {
    for case in cases("crossed") {
        let scores = table(&case["scores"]);
        let zeros = Scores::from_rows(vec![vec![[0.0]; scores.seeds()]; scores.clusters()]);
        for ours in [crossed::mean(&scores), crossed::paired_difference(&scores, &zeros)] {
            assert_close(ours.ms_clusters, number(&case, "ms_clusters"), ROUNDING);
            assert_close(ours.ms_seeds, number(&case, "ms_seeds"), ROUNDING);
            assert_close(ours.ms_residual, number(&case, "ms_residual"), ROUNDING);
            assert_close(ours.standard_error, number(&case, "standard_error"), ROUNDING);
            assert_close(ours.degrees_of_freedom, number(&case, "degrees_of_freedom"), ROUNDING);
            assert_close(ours.p_value(), number(&case, "p_value"), ITERATION);
            let interval = ours.interval(&Settings::default());
            assert_close(interval.low, number(&case, "low"), ITERATION);
            assert_close(interval.high, number(&case, "high"), ITERATION);
        }
    }
}

#[test]
fn letters_are_the_maximal_cliques_of_ties() {
    for case in cases("letters") {
        let n = case["n"].as_u64().unwrap() as usize;
        let indices = |value: &Value| numbers(value).into_iter().map(|v| v as usize).collect::<Vec<_>>();
        let differ: BTreeSet<_> = case["differ"].as_array().unwrap().iter().map(indices).collect();
        let display = letters::display(n, |i, j| differ.contains(&vec![i, j]));
        let used: BTreeSet<char> = display.iter().flat_map(|letters| letters.chars()).collect();
        let ours: BTreeSet<Vec<usize>> =
            used.iter().map(|&l| (0..n).filter(|&row| display[row].contains(l)).collect()).collect();
        let theirs: BTreeSet<_> = case["groups"].as_array().unwrap().iter().map(indices).collect();
        assert_eq!(ours, theirs);
        assert_eq!(ours.len(), used.len());
    }
}

#[test]
fn power_of_unpaired_proportions() {
    for case in cases("unpaired_power") {
        let plan = Plan::new(Pairing::Unpaired { base_rate: number(&case, "base_rate") });
        let items = case["items"].as_u64().unwrap();
        let ours = plan.power(number(&case, "difference"), items).unwrap();
        assert_close(ours, number(&case, "power"), ROUNDING);
    }
}

#[test]
fn power_of_mcnemar() {
    /// A normal approximation against the exact power of a discrete test.
    const APPROXIMATION: f64 = 0.02;
    for case in cases("paired_power") {
        let plan = Plan::new(Pairing::Paired { discordance: number(&case, "discordance") });
        let items = case["items"].as_u64().unwrap();
        let ours = plan.power(number(&case, "difference"), items).unwrap();
        assert_close(ours, number(&case, "power"), APPROXIMATION);
    }
}

#[test]
fn plans_invert_each_other_and_refuse_the_impossible() {
    let plan = Plan::new(Pairing::Paired { discordance: 0.2 });
    let items = plan.items_needed(0.03).unwrap();
    assert!(plan.power(0.03, items).unwrap() >= 0.8 && plan.power(0.03, items - 1).unwrap() < 0.8);
    assert_close(plan.detectable_difference(items).unwrap(), 0.03, 1e-4);
    // Seeds that agree on every item do not help; seeds that do not agree do.
    let seeds = |item_correlation| Plan { seeds: 3, noise: SeedNoise { sd: 0.0, item_correlation }, ..plan };
    assert_eq!(seeds(1.0).items_needed(0.03).unwrap(), items);
    assert!(seeds(0.5).items_needed(0.03).unwrap() < items * 7 / 10);
    // Seeds that differ ask for more items, until no number of items is enough.
    let noisy = |sd| Plan { seeds: 3, noise: SeedNoise { sd, item_correlation: 1.0 }, ..plan };
    assert!(noisy(0.003).items_needed(0.03).unwrap() > items);
    let hidden = noisy(0.03).items_needed(0.03).unwrap_err().to_string();
    assert!(hidden.ends_with("stays hidden; more seeds would help"), "{hidden}");
    for (difference, reason) in [(0.0, "the difference is `0`"), (0.3, "impossible with discordance `0.2`")] {
        assert!(plan.power(difference, 100).unwrap_err().to_string().ends_with(reason));
    }
    assert!(
        plan.detectable_difference(3).unwrap_err().to_string().ends_with("too few to find any difference")
    );
    assert!(Plan { seeds: 0, ..plan }.power(0.1, 100).is_err());
    assert!(Plan { alpha: 0.0, ..plan }.power(0.1, 100).is_err());
    assert!(Plan::new(Pairing::Unpaired { base_rate: 1.2 }).power(0.1, 100).is_err());
}

#[test]
fn effect_sizes_of_real_scores() {
    for case in cases("effect_sizes") {
        let [a, b] = ["a", "b"].map(|side| Scores::from_items(&numbers(&case[side])));
        let effect = effect::paired(&a, &b, &Settings::default());
        assert_close(effect.cohen_d.unwrap(), number(&case, "cohen_d"), ROUNDING);
        assert_eq!(effect.cohen_h, None);
    }
    let right = Scores::from_items(&[1.0, 0.0, 1.0]);
    let effect = effect::paired(&right, &Scores::from_items(&[0.0, 0.0, 1.0]), &Settings::default());
    assert!(effect.cohen_d.is_none() && effect.cohen_h.is_some());
}
