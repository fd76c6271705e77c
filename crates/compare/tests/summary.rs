//! `summary.json`, and what may be pooled and compared.

mod sample;

use compare::stats::{Settings, wilson};
use compare::{Error, Evidence, Run, Status, Summary, summarize};
use sample::{run, suite};

fn summary(runs: &[Run]) -> Summary {
    summarize(runs, &Settings::default()).unwrap()
}

fn refusal(runs: &[Run]) -> String {
    summarize(runs, &Settings::default()).unwrap_err().to_string()
}

#[test]
fn the_layout_is_the_documented_one() {
    let json = serde_json::to_value(summary(&[run("lori-d", "nlu", 0, 0.6)])).unwrap();
    assert_eq!(json["schema"], 1);
    let keys: Vec<_> = json["rows"][0].as_object().unwrap().keys().cloned().collect();
    let expected = "method variant task metric value ci_low ci_high n_items seeds trainable_parameters trainable_percent \
                    train_seconds peak_bytes";
    assert_eq!(keys.join(" "), expected);
    assert_eq!((&json["rows"][0]["method"], &json["rows"][0]["variant"]), (&"lori".into(), &"d".into()));
    let read: Summary = serde_json::from_value(json).unwrap();
    assert_eq!(read.schema, 1);
}

#[test]
fn rows_follow_task_method_metric() {
    let mut runs = suite(1);
    runs.swap(0, 3);
    let rows = summary(&runs).rows;
    let order: Vec<_> =
        rows.iter().map(|r| format!("{} {}{} {}", r.task, r.method, r.variant, r.metric)).collect();
    assert_eq!(
        order,
        [
            "nlu base accuracy",
            "nlu base length",
            "nlu loris accuracy",
            "nlu loris length",
            "nlu lora accuracy",
            "nlu lora length",
            "nlu lorid accuracy",
            "nlu lorid length",
            "math base accuracy",
            "math base length",
            "math lora accuracy",
            "math lora length",
            "math lorid accuracy",
            "math lorid length",
            "math loris accuracy",
            "math loris length",
        ]
    );
}

#[test]
fn one_seed_of_right_and_wrong_has_a_wilson_interval() {
    let run = run("lora", "nlu", 0, 0.6);
    let value = run.record.metrics[0].value;
    let row = &summary(&[run]).rows[0];
    let expected = wilson((value * 400.0).round(), 400.0, 0.95);
    assert_eq!((row.value, row.n_items, row.seeds), (value, Some(400), 1));
    assert_eq!((row.ci_low, row.ci_high), (Some(expected.low), Some(expected.high)));
    assert_eq!(
        (row.trainable_parameters, row.train_seconds, row.peak_bytes),
        (Some(184_960), Some(72.25), Some(2_600_000))
    );
}

#[test]
fn seeds_are_pooled_over_items_and_seeds() {
    let runs: Vec<Run> = (0..3).map(|seed| run("lora", "nlu", seed, 0.6)).collect();
    let mean = runs.iter().map(|r| r.record.metrics[0].value).sum::<f64>() / 3.0;
    let rows = summary(&runs).rows;
    let (accuracy, length) = (&rows[0], &rows[1]);
    assert!((accuracy.value - mean).abs() < 1e-12);
    assert_eq!((accuracy.seeds, accuracy.n_items, length.n_items), (3, Some(400), Some(200)));
    assert!(accuracy.ci_low.unwrap() < mean && mean < accuracy.ci_high.unwrap());
    assert_eq!(accuracy.train_seconds, Some(73.25));
}

#[test]
fn unknown_costs_are_null() {
    let mut run = run("lora", "nlu", 0, 0.6);
    run.record.memory = compare::Memory::default();
    run.record.total = compare::Total::default();
    run.record.parameters = compare::Parameters::default();
    let row = &summary(&[run]).rows[0];
    assert_eq!((row.peak_bytes, row.train_seconds, row.trainable_parameters), (None, None, None));
    assert_eq!(row.trainable_percent, None);
}

#[test]
fn known_proportions_without_items_get_an_interval_too() {
    let mut run = run("lora", "nlu", 0, 0.6);
    run.evidence = Evidence::Counts;
    let rows = summary(&[run.clone()]).rows;
    assert!(rows[0].ci_low.is_some());
    assert_eq!((rows[1].metric.as_str(), rows[1].ci_low), ("length", None));
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let pair = |change: &dyn Fn(&mut Run)| {
        let mut second = run("lora", "nlu", 1, 0.6);
        change(&mut second);
        refusal(&[run("lora", "nlu", 0, 0.6), second])
    };
    assert!(pair(&|r| r.record.seed = 0).ends_with("are both `lora` on `nlu` with seed 0"));
    assert!(
        pair(&|r| r.record.config["task"]["lr"] = 2.into()).ends_with("their configs differ at `task.lr`")
    );
    assert!(
        pair(&|r| r.record.status = Status::Interrupted).ends_with("cannot be reported: it was interrupted")
    );
    assert!(pair(&|r| r.record.metrics[0].version = "2".into()).ends_with("versions `1` and `2`"));
    assert!(pair(&|r| drop(r.record.metrics.pop())).contains("it lacks metric `length`"));
    assert!(pair(&|r| r.record.metrics[0].value = 0.5).contains("is recorded as 0.5, but its outcomes give"));
    assert!(pair(&|r| r.record.suite = None).contains("their suites are `mini` and `none`"));
    let test = compare::Split::Test;
    assert!(
        pair(&|r| r.record.data.get_mut(&test).unwrap().hash = "u".into())
            .ends_with("their test data differ")
    );
    assert!(pair(&|r| r.record.model.fingerprint = Some("x".into())).ends_with("have different weights"));
    let items = |r: &mut Run, change: &dyn Fn(&mut Vec<compare::Outcome>)| match &mut r.evidence {
        Evidence::Items(items) => change(items),
        Evidence::Counts => unreachable!(),
    };
    assert!(
        pair(&|r| items(r, &|i| i[5].id = "x".into())).ends_with("only one of them has test item `nlu/5`")
    );
    assert!(
        pair(&|r| items(r, &|i| i[5].id = "nlu/6".into())).ends_with("two of its outcomes are of one item")
    );
    let mut other = run("dora", "nlu", 0, 0.6);
    other.record.metrics[1].version = "2".into();
    assert!(refusal(&[run("lora", "nlu", 0, 0.6), other]).contains("disagree on `length` of `nlu`"));
}

#[test]
fn a_summary_replaces_an_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("summary.json");
    for skill in [0.5, 0.6] {
        summary(&[run("lora", "nlu", 0, skill)]).write(&path).unwrap();
    }
    let read: Summary = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(read, summary(&[run("lora", "nlu", 0, 0.6)]));
    let missing = summary(&[run("lora", "nlu", 0, 0.5)]).write(&folder.path().join("none/summary.json"));
    assert!(matches!(missing, Err(Error::Io { .. })));
}
