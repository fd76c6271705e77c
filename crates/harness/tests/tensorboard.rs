//! TensorBoard's own reader finds the curves of a run, whole, however often the run was cut off. Needs a Python with
//! `tensorboard`, `$PYTHON` or `python3`; without one the test says so and passes.
#![allow(clippy::print_stderr)]
#![cfg(unix)]

mod common;
mod survival;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use common::{records, text};
use serde_json::Value;
use survival::{Case, EVERY, STEPS, wait_for};

/// Prints, for each tag, the steps and values that lie in the event files of a folder, none left out.
const READER: &str = r"
import json, math, sys
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
import glob, os
curves, texts = {}, {}
for path in sorted(glob.glob(os.path.join(sys.argv[1], '*tfevents*'))):
    for event in EventFileLoader(path).Load():
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == 'text':
                texts[value.tag] = value.tensor.string_val[0].decode()
            else:
                curves.setdefault(value.tag, []).append([event.step, value.tensor.float_val[0], event.wall_time])
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
board = EventAccumulator(sys.argv[1])
board.Reload()
print(json.dumps({'curves': curves, 'texts': texts, 'tags': board.Tags()['scalars']}))
";

/// What lies in the event files of a folder; none without TensorBoard.
fn read(folder: &Path) -> Option<Value> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python).args(["-c", "import tensorboard"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: {python} has no tensorboard");
        return None;
    }
    let output = Command::new(&python).args(["-c", READER]).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

type Points = Vec<(u64, f64)>;

fn points(curve: &Value) -> Points {
    let points = curve.as_array().unwrap().iter();
    points.map(|point| (point[0].as_u64().unwrap(), point[1].as_f64().unwrap())).collect()
}

/// The curves of the record, which single precision has rounded.
fn expected(record: &Value) -> BTreeMap<String, Points> {
    let curves = &record["curves"];
    let of = |curve: &Value| -> Points {
        let points = curve.as_array().unwrap().iter();
        let rounded = |value: &Value| f64::from(value.as_f64().unwrap() as f32);
        points.map(|point| (point["step"].as_u64().unwrap(), rounded(&point["value"]))).collect()
    };
    let validation = curves["validation"].as_object().unwrap().iter();
    let mut all: BTreeMap<String, Points> =
        validation.map(|(name, curve)| (format!("validation/{name}"), of(curve))).collect();
    all.insert("train/loss".into(), of(&curves["loss"]));
    all.insert("train/learning_rate".into(), of(&curves["learning_rate"]));
    all
}

#[test]
fn curves_are_whole_after_a_kill() {
    // Three phases, and validation scores.
    const MORE: &[&str] = &[
        "--tensorboard",
        "--set",
        "method.low_rank_steps=5",
        "--set",
        "method.collection_steps=8",
        "--set",
        "tasks.nlu.training.eval_every=5",
    ];
    let case = Case("rosa", MORE);
    let folder = tempfile::tempdir().unwrap();
    let board = folder.path().join("tensorboard/nlu/rosa/seed-0");
    for step in [4, 10] {
        let mut child = case.start(folder.path());
        assert!(wait_for(step, &case.checkpoints(folder.path()), &mut child));
        child.kill().unwrap();
        child.wait().unwrap();
        let Some(cut) = read(&board) else { return };
        let seen = points(&cut["curves"]["train/loss"]).len() as u64;
        assert!((step..STEPS).contains(&seen), "{seen} steps can be seen while it runs");
    }
    let output = case.finish(folder.path(), EVERY);
    assert!(output.status.success(), "{}", text(&output));

    let Some(seen) = read(&board) else { return };
    let record = records(folder.path()).into_iter().find(|record| record["method"] == "rosa").unwrap();
    let expected = expected(&record);
    for (tag, curve) in &expected {
        assert_eq!(&points(&seen["curves"][tag]), curve, "{tag}");
    }
    assert_eq!(expected["train/loss"].len() as u64, STEPS);
    let speed = points(&seen["curves"]["train/tokens_per_second"]);
    assert_eq!(speed.iter().map(|(step, _)| *step).collect::<Vec<_>>(), (1..=STEPS).collect::<Vec<_>>());
    assert!(speed.iter().all(|(_, rate)| *rate > 0.0), "{speed:?}");

    // Each phase has its own part of the curve, one after another.
    let phases: Vec<_> = record["phases"].as_array().unwrap().iter().collect();
    assert!(phases.len() > 1);
    let mut joined = Vec::new();
    for (index, phase) in phases.iter().enumerate() {
        let tag = format!("phase-{}-{}/loss", index + 1, phase["name"].as_str().unwrap());
        let own = points(&seen["curves"][&tag]);
        assert_eq!(own.len() as u64, phase["steps"].as_u64().unwrap(), "{tag}");
        joined.extend(own);
    }
    assert_eq!(joined, expected["train/loss"]);

    // Time goes forward, over the stops as well.
    let times =
        seen["curves"]["train/loss"].as_array().unwrap().iter().map(|point| point[2].as_f64().unwrap());
    let times: Vec<f64> = times.collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    assert!(seen["texts"]["configuration"].as_str().unwrap().contains("low_rank_steps = 5"));
    let tags: Vec<&str> = seen["tags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(expected.keys().all(|tag| tags.contains(&tag.as_str())), "{tags:?}");

    // For a run that is finished they are made from its record.
    std::fs::remove_dir_all(folder.path().join("tensorboard")).unwrap();
    let output = case.finish(folder.path(), EVERY);
    assert!(text(&output).contains("there already"), "{}", text(&output));
    let again = read(&board).unwrap();
    for (tag, curve) in &expected {
        assert_eq!(&points(&again["curves"][tag]), curve, "{tag}");
    }
}
