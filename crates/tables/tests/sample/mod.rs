//! An invented table, and invented runs of it.
#![allow(dead_code, reason = "every test file takes what it needs")]

use std::collections::BTreeMap;

use compare::{Evidence, Metric, Model, Outcome, Run, RunRecord, Split, Status};
use serde_json::{Value, json};
use tables::{Measured, Pack, Report, Scale, TableRun, report};

pub const PACK: &str = r#"name = "own-1"
seeds = 1
grade = "verified"
found = "the text of the paper"

[paper]
title = "A Paper"
arxiv = "0000.00000"
item = "Table 1"
about = "two kinds of arithmetic"

[models.m]
label = "M-7B"
name = "hf:someone/M-7B"

[columns.svamp]
label = "SVAMP"
task = "svamp"
preset = "reference"
metric = "accuracy"
items = 1000
[columns.mawps]
label = "MAWPS"
task = "mawps"
preset = "reference"
metric = "accuracy"
[columns.avg]
label = "average"
average_of = ["svamp", "mawps"]
[columns.judge]
label = "Judge"
without = "a closed model judges it"
unit = "plain"
decimals = 2

[rows.full]
label = "full"
model = "m"
method = "full"
origin = "cited"
grade = "figure"
cells = { svamp = 71.0, avg = 70.4, judge = 4.91 }
[rows.lora]
label = "LoRA"
model = "m"
method = "lora"
settings.method = { rank = 8 }
cells = { svamp = 60.0, mawps = 58.4, avg = 59.2, judge = { value = 4.1, grade = "unverified", found = "a rumour" } }
[rows.lori]
label = "LoRI"
model = "m"
method = "lori-d"
cells = { svamp = 66.1, mawps = { value = 63.0, grade = "unverified" } }
[rows.again]
label = "LoRA, again"
model = "m"
method = "lora"
origin = "reproduction"
cells = { svamp = 70.0 }

[[claims]]
first = "lori"
second = "full"
columns = ["mawps"]
grade = "unverified"
found = "a rumour"

[[unsaid]]
setting = "task.training.dtype"
chosen = "\"f32\""
why = "nothing is said of it"

[[deviations]]
setting = "task.decoding.strategy"
paper = "4 beams"
ours = "greedy"
why = "only encoder-decoders answer with beams"

[mini]
suite = "mini"
seeds = 3
columns = { svamp = "math", mawps = "nlu" }
[mini.rows]
full = {}
lora = { settings.method.rank = 4 }
lori = {}
"#;

pub fn pack() -> Pack {
    Pack::parse(PACK, "own-1.toml").unwrap()
}

/// A record as the harness would write it.
pub fn record(run: &TableRun, seed: u64) -> RunRecord {
    let mut record = RunRecord::new("2025-11-21T10:15:00Z".parse().unwrap(), &run.method, &run.task, seed);
    record.model = Model { name: run.model.clone().unwrap_or_default(), fingerprint: None };
    let mut settings = json!({"optimizer": {"lr": 1e-4}});
    for (key, value) in run.method_overrides() {
        settings[key] = value.parse::<f64>().map_or(Value::Null, |number| json!(number));
    }
    record.config = json!({
        "suite": run.suite,
        "task": run.task_config().unwrap(),
        "method": { "name": run.method, "settings": settings },
    });
    record
}

/// Items of every run.
const ITEMS: usize = 2000;

/// A run in which so many of 1,000 items are right; which ones depends on method, settings and seed.
pub fn scored(mut record: RunRecord, per_mille: usize) -> Run {
    let text = format!("{}{}{}", record.method, record.config["method"], record.seed);
    // An odd number that 5 does not divide, so that multiplying by it permutes 2,000 items.
    let factor = 10 * text.bytes().map(usize::from).sum::<usize>() + 1;
    let right = per_mille * ITEMS / 1000;
    let outcomes: Vec<Outcome> = (0..ITEMS)
        .map(|item| Outcome {
            id: format!("{item:05}"),
            cluster: None,
            split: Split::Test,
            output: "…".to_owned(),
            scores: BTreeMap::from([(
                "accuracy".to_owned(),
                f64::from(u8::from(item * factor % ITEMS < right)),
            )]),
        })
        .collect();
    record.metrics.extend(Metric::new("accuracy", "1").measure(&outcomes).unwrap());
    record.status = Status::Success;
    Run { record, evidence: Evidence::Items(outcomes) }
}

/// Runs of a row in a column.
pub struct Given {
    pub run: TableRun,
    pub runs: Vec<Run>,
}

/// `(row, column, right of 1,000 items)`, for each of `seeds` seeds.
pub fn given(pack: &Pack, scale: Scale, scores: &[(&str, &str, usize)], seeds: u64) -> Vec<Given> {
    let of = |row: &str, column: &str| {
        let planned = pack.runs(scale).into_iter();
        planned.filter(|run| run.row == row).find(|run| run.columns.iter().any(|c| c == column)).unwrap()
    };
    scores
        .iter()
        .map(|(row, column, right)| {
            let run = of(row, column);
            let runs = (0..seeds).map(|seed| scored(record(&run, seed), *right)).collect();
            Given { run, runs }
        })
        .collect()
}

pub fn reported<'a>(pack: &'a Pack, scale: Scale, given: &[Given]) -> Report<'a> {
    let measured: Vec<Measured<'_>> =
        given.iter().map(|given| Measured { run: &given.run, runs: &given.runs }).collect();
    report(pack, scale, &measured, &compare::stats::Settings::default()).unwrap()
}
