//! Records on disk.

mod sample;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use compare::{Error, Evidence, Metric, Parameters, Run, Status, Store, Total, latest, load, parse, rescore};
use sample::{record, run};

fn stored(run: &Run) -> (tempfile::TempDir, Store, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    let path = store.save(run).unwrap();
    (folder, store, path)
}

/// What `load` gives back: the run with the store's note on its outcomes.
fn without_note(mut run: Run) -> Run {
    run.record.outcomes = None;
    run
}

#[test]
fn what_is_saved_is_loaded() {
    let run = run("lori-d", "nlu", 3, 0.6);
    let (folder, store, path) = stored(&run);
    let place = "mini/nlu/lori-d/seed-3/20251121T101503.123Z-lori-d-nlu-3.json";
    assert_eq!(path, folder.path().join(place));
    let loaded = load(&path).unwrap();
    assert_eq!(loaded.record.outcomes.as_ref().unwrap().count, sample::ITEMS as u64);
    assert_eq!(without_note(loaded), run);
    assert_eq!(store.list().unwrap(), [path]);
    let outcomes = folder.path().join(place.replace(".json", ".outcomes.jsonl.zst"));
    let Evidence::Items(items) = &run.evidence else { unreachable!() };
    let plain = serde_json::to_vec(items).unwrap().len() as u64;
    assert!(fs::metadata(outcomes).unwrap().len() < plain / 5);
}

#[test]
fn unknown_is_null_and_not_zero() {
    let mut record = record("lora", "nlu", 0);
    record.memory = compare::Memory::default();
    record.parameters = Parameters::default();
    let json = serde_json::to_value(&record).unwrap();
    assert!(json["memory"]["peak_bytes"].is_null() && json["parameters"]["trainable"].is_null());
    assert_eq!(json["schema"], compare::SCHEMA);
}

#[test]
fn a_loss_that_is_not_finite_survives() {
    let mut run = run("lora", "nlu", 0, 0.5);
    run.record.curves.loss.push(compare::Point::new(301, f64::NAN));
    run.record.status = Status::Failed { reason: "loss is NaN".into() };
    let (_folder, _, path) = stored(&run);
    assert_eq!(without_note(load(&path).unwrap()), run);
}

#[test]
fn nothing_is_overwritten() {
    let run = run("lora", "nlu", 0, 0.5);
    let (_folder, store, path) = stored(&run);
    let before = fs::read(&path).unwrap();
    assert!(matches!(store.save(&run), Err(Error::AlreadyStored { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn what_a_crash_left_behind_is_in_nobodys_way() {
    let run = run("lora", "nlu", 0, 0.5);
    let (_folder, store, path) = stored(&run);
    // Killed after the outcomes and before the record, or while writing either.
    fs::remove_file(&path).unwrap();
    fs::write(path.with_file_name(".half.tmp"), "{").unwrap();
    assert!(store.load_all().unwrap().is_empty());
    assert_eq!(store.save(&run).unwrap(), path);
    assert_eq!(without_note(load(&path).unwrap()), run);
}

#[test]
fn names_cannot_leave_the_store() {
    let mut run = run("lora", "nlu", 0, 0.5);
    run.record.task = "../../etc".into();
    run.record.method = "a/b\\c".into();
    run.record.suite = None;
    run.record.id = "../x@1".into();
    let (folder, store, path) = stored(&run);
    assert!(path.starts_with(folder.path().join("single")));
    assert_eq!(store.list().unwrap(), [path]);
    assert_eq!(store.load_all().unwrap().into_iter().map(without_note).collect::<Vec<_>>(), [run]);
}

#[test]
fn a_store_that_does_not_exist_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Store::new(folder.path().join("none")).load_all().unwrap().is_empty());
}

#[test]
fn other_files_are_not_records() {
    let (_folder, store, path) = stored(&run("lora", "nlu", 0, 0.5));
    let adapter = path.parent().unwrap().join("adapter");
    fs::create_dir(&adapter).unwrap();
    fs::write(adapter.join("adapter_config.json"), "{}").unwrap();
    fs::write(store.root().join("summary.json"), "{}").unwrap();
    assert_eq!(store.list().unwrap(), [path]);
}

#[test]
fn outcomes_are_found_missing_changed_or_broken() {
    let (_folder, _, path) = stored(&run("lora", "nlu", 0, 0.5));
    let outcomes = path.with_extension("outcomes.jsonl.zst");
    let good = fs::read(&outcomes).unwrap();
    let name = outcomes.display().to_string();
    let message = |bytes: Option<&[u8]>| {
        match bytes {
            Some(bytes) => fs::write(&outcomes, bytes).unwrap(),
            None => fs::remove_file(&outcomes).unwrap(),
        }
        load(&path).unwrap_err().to_string()
    };
    assert!(message(None).contains(&format!("are missing: `{name}`")));
    assert_eq!(message(Some(&good[..good.len() / 2])), format!("cannot decompress `{name}`"));
    let other = zstd::encode_all(&b"{}\n"[..], 1).unwrap();
    assert_eq!(message(Some(&other)), format!("`{name}:1` is not a valid outcome"));
    let empty = zstd::encode_all(&b""[..], 1).unwrap();
    assert!(message(Some(&empty)).ends_with("0 outcomes instead of 400"));
    let text = String::from_utf8(zstd::decode_all(&good[..]).unwrap()).unwrap();
    let edited = zstd::encode_all(text.replacen(":1.0", ":0.0", 1).as_bytes(), 1).unwrap();
    assert!(message(Some(&edited)).ends_with("their hash differs"));
}

#[test]
fn files_that_are_no_records_are_named() {
    let (_folder, store, path) = stored(&run("lora", "nlu", 0, 0.5));
    let good: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let message = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = good.clone();
        change(&mut value);
        fs::write(&path, value.to_string()).unwrap();
        let error = store.load_all().unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        format!("{error}: {cause}")
    };
    let name = path.display().to_string();
    assert!(message(&|v| v["schema"] = 99.into()).contains(&format!("`{name}` has schema 99")));
    assert!(
        message(&|v| v["suprise"] = 2.into())
            .contains(&format!("`{name}` is not a valid run record: unknown field"))
    );
    assert!(message(&|v| v["parameters"]["trainable_percent"] = 50.into()).contains("its counts give"));
    assert!(message(&|v| v["metrics"][0]["value"] = 1.5.into()).contains("not a fraction of 1"));
}

#[test]
fn records_that_contradict_themselves_are_refused() {
    let store = Store::new(tempfile::tempdir().unwrap().path());
    let refuse = |change: &dyn Fn(&mut Run)| {
        let mut run = run("lora", "nlu", 0, 0.5);
        change(&mut run);
        store.save(&run).unwrap_err().to_string()
    };
    assert!(refuse(&|r| r.record.metrics.clear()).ends_with("it succeeded without a metric"));
    assert!(refuse(&|r| r.record.metrics[1].value = f64::NAN).ends_with("metric `length` is `NaN`"));
    assert!(
        refuse(&|r| r.record.metrics[1].name = "accuracy".into())
            .ends_with("metric `accuracy` appears twice")
    );
}

#[test]
fn the_first_schema_still_reads() {
    let text = include_str!("records/schema-1.json");
    let record = parse(text, "schema-1.json").unwrap();
    assert_eq!((record.method.as_str(), record.metrics[0].value), ("lori-d", 0.75));
    assert_eq!((record.schema, record.sequence), (compare::SCHEMA, None));
    assert_eq!(record.status, Status::Failed { reason: "stopped for the test".into() });
}

#[test]
fn scoring_again_adds_a_revision() {
    let (_folder, store, path) = stored(&run("lora", "nlu", 0, 0.5));
    let old = load(&path).unwrap();
    let strict = Metric::new("accuracy", "2");
    let new = rescore(&old, std::slice::from_ref(&strict), |outcomes| {
        outcomes
            .iter()
            .map(|o| BTreeMap::from([("accuracy".into(), f64::from(o.output.ends_with('7')))]))
            .collect()
    })
    .unwrap();
    assert_eq!((new.record.metrics[0].value, new.record.metrics[0].version.as_str()), (0.1, "2"));
    let second = store.save(&new).unwrap();
    assert_ne!(second, path);
    assert_eq!(store.list().unwrap(), [second]);
    assert_eq!(load(&path).unwrap(), old);

    let message = |metrics: &[Metric], scores: fn() -> Vec<BTreeMap<String, f64>>| {
        rescore(&old, metrics, |_| scores()).unwrap_err().to_string()
    };
    assert!(message(std::slice::from_ref(&strict), Vec::new).ends_with("400 outcomes got 0 scores"));
    assert!(
        message(std::slice::from_ref(&strict), || vec![BTreeMap::new(); 400])
            .ends_with("no test item counts for `accuracy`")
    );
    let odd = || vec![BTreeMap::from([("f1".to_owned(), 1.0)]); 400];
    assert!(message(&[strict], odd).ends_with("the scorer returned `f1`, which is not among its metrics"));
}

#[test]
fn the_newest_success_of_each_place_stays() {
    let old = run("lora", "nlu", 0, 0.5);
    let mut new = run("lora", "nlu", 0, 0.6);
    new.record.created_at = "2025-11-22T00:00:00Z".parse().unwrap();
    new.record.id = "new".into();
    let mut failed = run("lora", "nlu", 0, 0.7);
    failed.record.created_at = "2025-11-23T00:00:00Z".parse().unwrap();
    failed.record.status = Status::Interrupted;
    let other = run("lora", "nlu", 1, 0.5);
    let selection = latest([failed, new.clone(), old, other.clone()]);
    assert_eq!(selection.runs, [other, new]);
    let reasons: Vec<_> = selection.left_out.iter().map(|l| l.reason.as_str()).collect();
    assert_eq!(reasons, ["a newer run took its place", "it was interrupted"]);
}

#[test]
fn totals_count_every_needed_run_once() {
    let needed = record("lori-d", "nlu", 0);
    let own = record("lori-s", "nlu", 1);
    let total = Total::of(&own.phases, [&needed, &needed], None);
    assert_eq!(
        (total.steps, total.train_seconds, total.wall_seconds),
        (Some(600), Some(72.25 + 73.25), None)
    );
    let mut unknown = own.phases.clone();
    unknown[0].seconds = None;
    assert_eq!(Total::of(&unknown, [&needed], None).train_seconds, None);
}
