//! Metrics that are no mean, from outcomes to tables.

mod sample;

use std::collections::BTreeMap;

use compare::gate::{Bounds, Verdict, gate};
use compare::hf::{Context, export};
use compare::report::Report;
use compare::stats::effect::Test;
use compare::stats::{IntervalKind, Settings};
use compare::table::{TerminalStyle, csv, results, terminal, tests};
use compare::{
    Aggregate, Better, Error, Evidence, Metric, Outcome, Replication, Run, Scale, Selection, Split, Store,
    entries, parse, rank, rank_all, rescore, summarize,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const ITEMS: usize = 150;

/// Fewer resamples than usual: nothing here is close to a level.
const SETTINGS: Settings = Settings { confidence: 0.95, resamples: 1000, seed: 0 };

fn metrics() -> Vec<Metric> {
    [
        ("mcc", Aggregate::Matthews),
        ("rho", Aggregate::Spearman),
        ("perplexity", Aggregate::Perplexity),
        ("bits_per_character", Aggregate::BitsPerCharacter),
    ]
    .map(|(name, aggregate)| Metric::aggregated(name, "1", aggregate))
    .to_vec()
}

/// A run whose class is right with probability `skill`; the better, the likelier the text.
fn run(method: &str, seed: u64, skill: f64) -> Run {
    let mut items = ChaCha8Rng::seed_from_u64(1);
    let mut luck = ChaCha8Rng::seed_from_u64(seed + 1000 * method.bytes().map(u64::from).sum::<u64>());
    let uniform = |rng: &mut ChaCha8Rng| f64::from(rng.next_u32()) / f64::from(u32::MAX);
    let outcome = |item: usize| {
        let gold = (uniform(&mut items) * 2.0).floor().min(1.0);
        let right = 0.5 * uniform(&mut items) + 0.5 * uniform(&mut luck) < skill;
        let nats = 30.0 * (1.0 + uniform(&mut items) + 0.2 * uniform(&mut luck) - skill);
        let scores = [
            ("gold", gold),
            ("predicted", if right { gold } else { 1.0 - gold }),
            ("nats", nats),
            ("tokens", 20.0),
            ("characters", 80.0),
        ];
        Outcome {
            id: format!("nlu/{item}"),
            cluster: None,
            split: Split::Test,
            output: String::new(),
            scores: scores.map(|(name, value)| (name.to_owned(), value)).into(),
        }
    };
    measured(sample::record(method, "nlu", seed), (0..ITEMS).map(outcome).collect())
}

fn measured(mut record: compare::RunRecord, outcomes: Vec<Outcome>) -> Run {
    record.metrics = metrics().iter().map(|metric| metric.measure(&outcomes).unwrap().unwrap()).collect();
    record.curves.validation.clear();
    Run { record, evidence: Evidence::Items(outcomes) }
}

fn suite(seeds: u64) -> Vec<Run> {
    let mut runs = vec![run("base", 0, 0.3)];
    for (method, skill) in [("lora", 0.7), ("dora", 0.69), ("bone", 0.5)] {
        runs.extend((0..seeds).map(|seed| run(method, seed, skill)));
    }
    runs
}

#[test]
fn one_seed_is_tested_by_randomization_several_by_t() {
    for (seeds, test, kind) in [
        (1, Test::Permutation, IntervalKind::BootstrapClusters),
        (3, Test::CrossedT, IntervalKind::BootstrapClustersAndSeeds),
    ] {
        let runs = suite(seeds);
        for metric in ["mcc", "rho", "perplexity"] {
            let ranking = rank(&entries(&runs).unwrap(), Some(metric), &SETTINGS).unwrap();
            let letters: Vec<&str> = ranking.rows.iter().map(|row| row.letters.as_str()).collect();
            assert_eq!(ranking.rows[3].entry.replication(), Replication::Untrained, "{metric}");
            assert_eq!(ranking.rows[2].entry.record().method, "bone");
            assert_eq!((letters[0], letters[3].contains('a')), ("a", false), "{metric}: {letters:?}");
            let against_base = ranking.comparisons.iter().find(|c| (c.first, c.second) == (0, 3)).unwrap();
            assert_eq!((against_base.effect.test, against_base.seeds as u64), (test, seeds));
            let sign = if metric == "perplexity" { -1.0 } else { 1.0 };
            assert!(against_base.effect.difference * sign > 0.0);
            for row in &ranking.rows[..3] {
                let interval = row.pooled.interval.unwrap();
                assert_eq!(interval.kind, kind);
                assert!((interval.low..interval.high).contains(&row.pooled.metric.value));
                assert_eq!(row.pooled.metric.items, Some(ITEMS as u64));
            }
        }
    }
}

#[test]
fn the_value_of_several_seeds_is_the_mean_of_theirs() {
    let runs: Vec<Run> = (0..3).map(|seed| run("lora", seed, 0.7)).collect();
    for metric in metrics() {
        let pooled = entries(&runs).unwrap()[0].pooled(&metric.name, &SETTINGS).unwrap().unwrap();
        let mean = runs.iter().map(|run| run.record.metric(&metric.name).unwrap().value).sum::<f64>() / 3.0;
        assert!((pooled.metric.value - mean).abs() < 1e-12);
    }
}

#[test]
fn tables_reports_and_summaries_show_them() {
    let runs = suite(1);
    let rankings = rank_all(&entries(&runs).unwrap(), &SETTINGS).unwrap();
    let (scores, pairs) = (results(&rankings), tests(&rankings));
    assert!(terminal(&scores, TerminalStyle::PLAIN).contains("BCa bootstrap over item clusters"));
    assert!(csv(&pairs).unwrap().contains("paired permutation"));
    // The unadapted model does worse than chance, which only a correlation can say.
    let base = rankings[0].rows.last().unwrap().pooled.clone();
    assert!(base.metric.value < 0.0 && base.interval.unwrap().low < base.metric.value);
    let summary = summarize(&runs, &SETTINGS).unwrap();
    let rows: Vec<_> = summary.rows.iter().filter(|row| row.method == "lora").collect();
    assert_eq!(rows.len(), metrics().len());
    assert!(rows.iter().all(|row| row.ci_low.unwrap() < row.value && row.value < row.ci_high.unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let selection = Selection { runs, left_out: Vec::new() };
    Report::new(&selection, &SETTINGS).unwrap().write(folder.path()).unwrap();
}

#[test]
fn a_gate_finds_what_got_worse() {
    let better = [run("lora", 0, 0.7)];
    let worse = [run("lora", 0, 0.45)];
    let verdicts = |before: &[Run], after: &[Run]| {
        let gate = gate(before, after, &Bounds::default()).unwrap();
        gate.checks.into_iter().map(|check| check.verdict).collect::<Vec<_>>()
    };
    assert!(verdicts(&better, &better).iter().all(|verdict| *verdict == Verdict::Passes));
    assert!(verdicts(&worse, &better)[..4].iter().all(|verdict| *verdict == Verdict::Passes));
    let down = verdicts(&better, &worse);
    assert!(down[..4].iter().all(|verdict| matches!(verdict, Verdict::Fails(_))), "{down:?}");
}

#[test]
fn stored_and_read_and_scored_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    let run = run("lora", 0, 0.7);
    store.save(&run).unwrap();
    let read = store.load_all().unwrap();
    assert_eq!((&read[0].record.metrics, &read[0].evidence), (&run.record.metrics, &run.evidence));
    let json = serde_json::to_value(&run.record).unwrap();
    assert_eq!(
        (&json["schema"], &json["metrics"][3]["aggregate"]),
        (&3.into(), &"bits_per_character".into())
    );

    let f1 = [Metric::aggregated("f1", "2", Aggregate::F1)];
    let pair = |outcomes: &[Outcome]| -> Vec<BTreeMap<String, f64>> {
        let columns = ["gold", "predicted"];
        outcomes.iter().map(|o| columns.map(|name| (name.to_owned(), o.scores[name])).into()).collect()
    };
    let again = rescore(&run, &f1, pair).unwrap();
    assert_eq!((again.record.revision, again.record.metrics.len()), (1, 1));
    let odd = rescore(&run, &[Metric::new("f1", "2")], pair).unwrap_err();
    assert!(odd.to_string().ends_with("the scorer returned `gold`, which is not among its metrics"));
}

#[test]
fn what_cannot_be_is_refused() {
    let run = run("lora", 0, 0.7);
    let outcomes = run.outcomes().unwrap();
    let refusal = |metric: &Metric, outcomes: &[Outcome]| metric.measure(outcomes).unwrap_err().to_string();
    let perplexity = Metric::aggregated("perplexity", "1", Aggregate::Perplexity);
    assert_eq!((perplexity.better, perplexity.scale), (Better::Lower, Scale::Plain));
    let upside_down = Metric { better: Better::Higher, ..perplexity.clone() };
    assert_eq!(
        refusal(&upside_down, outcomes),
        "metric `perplexity` cannot be measured: its aggregate `Perplexity` is Lower and Plain, but it is defined as \
         Higher and Plain"
    );
    assert!(
        refusal(&Metric::aggregated("x", "1", Aggregate::Corpus), outcomes).contains("not made from items")
    );
    let with = |name: &str, value: Option<f64>| -> Vec<Outcome> {
        let mut outcomes = outcomes.to_vec();
        outcomes[2].scores.remove(name);
        outcomes[2].scores.extend(value.map(|value| (name.to_owned(), value)));
        outcomes
    };
    assert_eq!(
        refusal(&perplexity, &with("tokens", None)),
        "item `nlu/2` cannot be scored by `perplexity`: it has no `tokens`"
    );
    let matthews = Metric::aggregated("mcc", "1", Aggregate::Matthews);
    for (name, value) in [("gold", -1.0), ("predicted", 0.5), ("predicted", f64::NAN), ("predicted", -2.0)] {
        assert!(
            matches!(matthews.measure(&with(name, Some(value))), Err(Error::Item { .. })),
            "{name} {value}"
        );
    }
    assert!(matthews.measure(&with("predicted", Some(-1.0))).unwrap().is_some());
    let mut silent = outcomes.to_vec();
    for outcome in &mut silent {
        outcome.scores.insert("tokens".to_owned(), 0.0);
    }
    assert!(refusal(&perplexity, &silent).ends_with("over 150 items its value is `NaN`"));
    for outcome in &mut silent {
        outcome.scores.clear();
    }
    assert_eq!(perplexity.measure(&silent).unwrap(), None);
    assert_eq!(perplexity.measure_on(Split::Validation, outcomes).unwrap(), None);

    let mut record = run.record.clone();
    record.metrics[0].value = -0.5;
    assert!(parse(&serde_json::to_string(&record).unwrap(), "a.json").is_ok());
    record.metrics[0].better = Better::Lower;
    let text = parse(&serde_json::to_string(&record).unwrap(), "a.json").unwrap_err().to_string();
    assert!(text.contains("metric `mcc` contradicts itself"), "{text}");

    let mut false_value = run.clone();
    false_value.record.metrics[0].value += 0.01;
    let text = summarize(&[false_value], &SETTINGS).unwrap_err().to_string();
    assert!(text.contains("but its outcomes give"), "{text}");

    let peft_config = serde_json::from_str(r#"{"peft_type": "LORA"}"#).unwrap();
    let context =
        Context { experiment: "lora/r8".into(), peft_config: Some(peft_config), ..Context::default() };
    let runs = [run];
    let text = export(&entries(&runs).unwrap()[0], &context, &SETTINGS).unwrap_err().to_string();
    assert!(text.ends_with("`mcc` is not an accuracy"), "{text}");
}

#[test]
fn without_items_there_is_a_value_and_no_test() {
    let runs = [("lora", 0.7), ("dora", 0.5)].map(|(method, skill)| {
        let run = run(method, 0, skill);
        Run { evidence: Evidence::Counts, ..run }
    });
    let ranking = rank(&entries(&runs).unwrap(), Some("mcc"), &SETTINGS).unwrap();
    assert!(ranking.comparisons.is_empty() && ranking.rows.iter().all(|row| row.pooled.interval.is_none()));
}
