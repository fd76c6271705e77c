//! Statistics of columns against scikit-learn, scipy and sacrebleu; `golden/columns.py` made the numbers.

use compare::stats::effect::Test;
use compare::stats::{Sample, Scores, Settings, Statistic, bootstrap, crossed, nonlinear};
use proptest::prelude::*;
use serde_json::Value;

/// Two implementations of one formula differ by rounding only.
const ROUNDING: f64 = 1e-9;

fn cases(section: &str) -> Vec<Value> {
    let golden: Value = serde_json::from_str(include_str!("golden/columns.json")).unwrap();
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

fn items(case: &Value) -> Vec<Vec<f64>> {
    case["items"].as_array().unwrap().iter().map(numbers).collect()
}

/// One seed, every item its own cluster.
fn sample(statistic: Statistic, items: &[Vec<f64>]) -> Sample {
    Sample::from_rows(statistic, items.iter().map(|item| [vec![item.clone()]]))
}

fn named(name: &Value) -> Statistic {
    match name.as_str().unwrap() {
        "matthews" => Statistic::Matthews,
        "pearson" => Statistic::Pearson,
        "spearman" => Statistic::Spearman,
        "nats_per_token" => Statistic::NatsPerToken,
        other => panic!("`{other}` is not among the golden statistics"),
    }
}

#[track_caller]
fn assert_close(ours: f64, theirs: f64) {
    let allowed = ROUNDING * theirs.abs().max(1.0);
    assert!((ours - theirs).abs() <= allowed, "ours {ours}, reference {theirs}");
}

#[test]
fn values_of_pairs_and_of_bleu() {
    for (section, statistic) in [
        ("matthews", Statistic::Matthews),
        ("f1", Statistic::F1),
        ("pearson", Statistic::Pearson),
        ("spearman", Statistic::Spearman),
        ("bleu", Statistic::Bleu),
    ] {
        for case in cases(section) {
            assert_close(sample(statistic, &items(&case)).value(), number(&case, "value"));
        }
    }
}

#[test]
fn values_of_likelihoods() {
    for case in cases("likelihood") {
        let columns = |column: usize| -> Vec<Vec<f64>> {
            items(&case).iter().map(|item| vec![item[0], item[column]]).collect()
        };
        assert_close(sample(Statistic::NatsPerToken, &columns(1)).value(), number(&case, "nats_per_token"));
        assert_close(sample(Statistic::Perplexity, &columns(1)).value(), number(&case, "perplexity"));
        assert_close(
            sample(Statistic::BitsPerCharacter, &columns(2)).value(),
            number(&case, "bits_per_character"),
        );
    }
}

#[test]
fn nothing_that_varies_correlates_with_nothing() {
    let constant: Vec<Vec<f64>> = (0..7).map(|i| vec![f64::from(i), 0.1]).collect();
    for statistic in [Statistic::Pearson, Statistic::Spearman] {
        assert_eq!(sample(statistic, &constant).value(), 0.0);
        assert_eq!(nonlinear::interval(&sample(statistic, &constant), &Settings::default()), None);
    }
    assert!(sample(Statistic::Pearson, &[]).value().is_nan());
    assert!(sample(Statistic::Perplexity, &[vec![0.0, 0.0]]).value().is_nan());
}

#[test]
fn bca_intervals() {
    let settings = Settings { resamples: 20_000, seed: 1, ..Settings::default() };
    for case in cases("intervals") {
        let ours = nonlinear::interval(&sample(named(&case["statistic"]), &items(&case)), &settings).unwrap();
        // Five Monte-Carlo standard errors, as for means.
        let allowed = 5.0 * number(&case, "error");
        for (ours, theirs) in [(ours.low, number(&case, "low")), (ours.high, number(&case, "high"))] {
            assert!((ours - theirs).abs() < allowed, "ours {ours}, reference {theirs}, allowed {allowed}");
        }
    }
}

#[test]
fn approximate_randomization() {
    for case in cases("randomization") {
        let gold = numbers(&case["gold"]);
        let [a, b] = ["a", "b"].map(|side| {
            let answers = numbers(&case[side]);
            let items: Vec<Vec<f64>> =
                gold.iter().zip(answers).map(|(&gold, answer)| vec![gold, answer]).collect();
            sample(named(&case["statistic"]), &items)
        });
        let settings = Settings { resamples: 20_000, ..Settings::default() };
        let effect = nonlinear::paired(&a, &b, &settings);
        assert_eq!((effect.test, effect.difference), (Test::Permutation, a.value() - b.value()));
        let theirs = number(&case, "p_value");
        let allowed = if case["exact"] == true {
            ROUNDING
        } else {
            // The reference draws at random too, at least half as often.
            5.0 * (theirs * (1.0 - theirs) * 3.0 / settings.resamples as f64).sqrt()
        };
        let ours = effect.p_value;
        assert!((ours - theirs).abs() <= allowed, "ours {ours}, reference {theirs}, allowed {allowed:e}");
    }
}

/// Clusters of items × seeds of some likelihoods, an item one token long: nats per token are their mean.
fn tables(seeds: usize) -> impl Strategy<Value = Vec<Vec<f64>>> {
    prop::collection::vec(prop::collection::vec(0.0..3.0, seeds), 3..20)
}

fn both_ways(table: &[Vec<f64>]) -> (Sample, Scores) {
    let sample = table.iter().map(|row| row.iter().map(|&nats| vec![[nats, 1.0]]).collect::<Vec<_>>());
    let scores = table.iter().map(|row| row.iter().map(|&nats| [nats]).collect::<Vec<_>>());
    (Sample::from_rows(Statistic::NatsPerToken, sample), Scores::from_rows(scores))
}

proptest! {
    #[test]
    fn a_statistic_that_is_a_mean_is_compared_as_one(a in tables(3), shift in -0.5..0.5) {
        let b: Vec<Vec<f64>> = a.iter().rev().map(|row| row.iter().map(|nats| f64::abs(nats + shift)).collect()).collect();
        let ((a, a_scores), (b, b_scores)) = (both_ways(&a), both_ways(&b));
        let mean = crossed::paired_difference(&a_scores, &b_scores);
        let effect = nonlinear::paired(&a, &b, &Settings { resamples: 10, ..Settings::default() });
        prop_assert_eq!(effect.test, Test::CrossedT);
        prop_assert!((a.value() - a_scores.mean()).abs() < ROUNDING);
        prop_assert!((effect.difference - mean.estimate).abs() < ROUNDING);
        prop_assert!((effect.p_value - mean.p_value()).abs() < 1e-6, "{} {}", effect.p_value, mean.p_value());
    }

    #[test]
    fn order_does_not_matter(values in prop::collection::vec((0.0_f64..5.0, 0.0_f64..5.0), 3..30)) {
        let items: Vec<Vec<f64>> = values.iter().map(|&(x, y)| vec![x.round(), y.round()]).collect();
        let reversed: Vec<Vec<f64>> = items.iter().rev().cloned().collect();
        for statistic in [Statistic::Matthews, Statistic::F1, Statistic::Pearson, Statistic::Spearman] {
            let (value, other) = (sample(statistic, &items).value(), sample(statistic, &reversed).value());
            prop_assert!((value - other).abs() < ROUNDING && (-1.0..=1.0).contains(&value));
        }
    }
}

#[test]
fn a_statistic_that_is_a_mean_has_its_interval() {
    let settings = Settings { resamples: 20_000, ..Settings::default() };
    let table: Vec<Vec<f64>> = (0..60).map(|i| vec![f64::from(i * i % 17), f64::from(i * i % 13)]).collect();
    for seeds in [1, 2] {
        let table: Vec<Vec<f64>> = table.iter().map(|row| row[..seeds].to_vec()).collect();
        let (sample, scores) = both_ways(&table);
        let ours = nonlinear::interval(&sample, &settings).unwrap();
        let mean = if seeds == 1 {
            bootstrap::bca(&scores, &settings)
        } else {
            bootstrap::percentile(&scores, &settings)
        };
        // The random streams differ; five Monte-Carlo errors of a 2.5 % quantile at this spread.
        let allowed = 0.05 * (mean.high - mean.low);
        assert!((ours.low - mean.low).abs() < allowed && (ours.high - mean.high).abs() < allowed);
        assert_eq!(ours.kind, mean.kind);
        assert_eq!(
            nonlinear::interval(&sample, &settings).unwrap(),
            ours,
            "the same data give the same interval"
        );
    }
}
