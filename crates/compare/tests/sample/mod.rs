//! Invented runs for tests.
#![allow(dead_code, reason = "every test file takes what it needs")]

use std::collections::BTreeMap;

use compare::{
    DataSplit, Environment, Evidence, Git, Memory, Metric, Model, Outcome, Parameters, PhaseRecord, Point,
    Run, RunRecord, Split, Status, Total,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::json;

pub const ITEMS: usize = 400;

/// A successful run whose items are right with probability `skill`; every method finds the same items hard.
pub fn run(method: &str, task: &str, seed: u64, skill: f64) -> Run {
    let mut items = ChaCha8Rng::seed_from_u64(1);
    let mut luck = ChaCha8Rng::seed_from_u64(seed + 1000 * method.bytes().map(u64::from).sum::<u64>());
    let uniform = |rng: &mut ChaCha8Rng| f64::from(rng.next_u32()) / f64::from(u32::MAX);
    let outcomes = (0..ITEMS)
        .map(|item| {
            let hard = 0.7 * uniform(&mut items) + 0.3 * uniform(&mut luck);
            let mut scores = BTreeMap::from([("accuracy".to_owned(), f64::from(hard < skill))]);
            if item % 2 == 0 {
                scores.insert("length".to_owned(), (hard * 10.0).round());
            }
            Outcome {
                id: format!("{task}/{item}"),
                cluster: None,
                split: Split::Test,
                output: format!("answer {item}"),
                scores,
            }
        })
        .collect();
    with_outcomes(record(method, task, seed), outcomes)
}

/// Metrics measured from the outcomes.
pub fn with_outcomes(mut record: RunRecord, outcomes: Vec<Outcome>) -> Run {
    let metrics = ["accuracy", "length"].map(|name| metric(name).measure(&outcomes).unwrap());
    record.metrics = metrics.into_iter().flatten().collect();
    Run { record, evidence: Evidence::Items(outcomes) }
}

pub fn metric(name: &str) -> Metric {
    let scale = if name == "length" { compare::Scale::Plain } else { compare::Scale::Fraction };
    Metric { scale, ..Metric::new(name, "1") }
}

pub fn record(method: &str, task: &str, seed: u64) -> RunRecord {
    let created_at = format!("2025-11-21T10:15:{:02}.123Z", seed % 60).parse().unwrap();
    let mut record = RunRecord::new(created_at, method, task, seed);
    let base = method == compare::BASE;
    if let Some((family, variant)) = method.split_once('-') {
        (record.family, record.variant) = (family.to_owned(), variant.to_owned());
    }
    record.suite = Some("mini".into());
    record.model = Model { name: "builtin:mini".into(), fingerprint: Some("abc".into()) };
    record.config = json!({"method": method, "task": {"lr": 0.001, "seed": seed}});
    record.environment = Environment {
        version: "0.1.0".into(),
        libtorch: Some("2.11.0".into()),
        device: Some("cpu".into()),
        threads: Some(2),
        os: Some("Linux".into()),
        cpu: Some("x86_64".into()),
        git: Some(Git { commit: Some("1234567".into()), branch: Some("main".into()), dirty: Some(false) }),
    };
    record.data = BTreeMap::from([(Split::Test, DataSplit { hash: "t".into(), items: Some(ITEMS as u64) })]);
    let (trainable, adapter) = if base { (0, 0) } else { (184_960, 200_000) };
    record.parameters = Parameters::counted(trainable, adapter, 2_600_000);
    if !base {
        record.phases = vec![PhaseRecord {
            name: "train".into(),
            steps: 300,
            seconds: Some(72.25 + seed as f64),
            tokens: Some(1_000_000),
            samples: Some(4_800),
            lr: Some(0.001),
            peak_bytes: Some(2_600_000),
        }];
        record.curves.loss = vec![Point::new(100, 2.5), Point::new(300, 0.75)];
        record.curves.validation.insert("accuracy".into(), vec![Point::new(300, 0.5)]);
        record.adapter_bytes = Some(741_000);
    }
    record.total = Total::of(&record.phases, [], Some(100.0));
    record.memory = Memory { peak_bytes: (!base).then_some(2_600_000), ..Memory::default() };
    record.evaluation_seconds = Some(8.5);
    record.status = Status::Success;
    record
}

/// A small suite: two tasks, four contestants, `seeds` seeds.
pub fn suite(seeds: u64) -> Vec<Run> {
    let mut runs = Vec::new();
    for (task, shift) in [("nlu", 0.0), ("math", -0.15)] {
        runs.push(run("base", task, 0, 0.25 + shift));
        for (method, skill) in [("lora", 0.62), ("lori-d", 0.60), ("lori-s", 0.48)] {
            runs.extend((0..seeds).map(|seed| run(method, task, seed, skill + shift)));
        }
    }
    runs
}
