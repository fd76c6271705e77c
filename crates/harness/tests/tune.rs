//! One budget for every method, chosen on the validation split.

mod common;

use std::path::Path;

use common::{records, refused, run, small, text};
use serde_json::Value;

fn tune(folder: &Path, more: &[&str]) -> String {
    let out = folder.to_str().unwrap();
    let small: Vec<String> =
        small("nlu").into_iter().map(|word| word.replace("eval_every=0", "eval_every=1.0")).collect();
    let mut args = vec!["tune", "--task", "nlu", "--threads", "1", "--out", out];
    args.extend(small.iter().map(String::as_str));
    args.extend(more);
    let output = run(&args);
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

fn found(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("tune.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["tuned"].as_array().unwrap().clone()
}

#[test]
fn every_method_has_the_same_trials_and_the_best_one_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--method", "lori,lora", "--budget", "3", "--max-steps", "3", "--seeds", "2"];
    let said = tune(folder.path(), &args);
    let tuned = found(folder.path());
    let methods: Vec<&str> = tuned.iter().map(|one| one["method"].as_str().unwrap()).collect();
    assert_eq!(methods, ["lori-d", "lora", "lori-s"], "LoRI-S comes after the method that it needs");
    for one in &tuned {
        let trials = one["trials"].as_array().unwrap();
        assert_eq!(trials.len(), 3);
        assert_eq!(trials[0]["lr"], one["default_lr"]);
        let rank = |trial: &Value| (trial["validation"].as_f64().unwrap(), -trial["loss"].as_f64().unwrap());
        let best = &trials[one["best"].as_u64().unwrap() as usize];
        assert!(trials.iter().all(|trial| rank(trial) <= rank(best)), "{one}");
    }
    // What was chosen and the defaults were scored with both seeds, and stand beside each other.
    for side in ["tuned", "default"] {
        let adapted =
            records(&folder.path().join(side)).into_iter().filter(|record| record["method"] != "base");
        let rates: Vec<(String, f64)> = adapted
            .map(|record| {
                let rate = record["config"]["method"]["settings"]["optimizer"]["lr"].as_f64().unwrap();
                (record["method"].as_str().unwrap().to_owned(), rate)
            })
            .collect();
        assert_eq!(rates.len(), 6);
        for one in &tuned {
            let chosen = &one["trials"][one["best"].as_u64().unwrap() as usize]["lr"];
            let expected = if side == "tuned" { chosen } else { &one["default_lr"] };
            let own = rates.iter().filter(|(method, _)| one["method"] == method.as_str());
            assert!(own.clone().count() == 2 && own.clone().all(|(_, rate)| expected == rate), "{rates:?}");
        }
    }
    assert!(said.contains("p (Holm)") && said.contains("default rate"), "{said}");
    assert!(folder.path().join("sensitivity-nlu.svg").exists());

    // The file it leaves is one for `--config`.
    let config = folder.path().join("tuned.toml");
    let shown = run(&["show", "--method", "lora", "--task", "nlu", "--config", config.to_str().unwrap()]);
    let lora = tuned.iter().find(|one| one["method"] == "lora").unwrap();
    let chosen = lora["trials"][lora["best"].as_u64().unwrap() as usize]["lr"].as_f64().unwrap();
    assert!(text(&shown).contains(&format!("lr = {chosen}")), "{}", text(&shown));

    // Nothing is trained twice.
    let before = records(&folder.path().join("records")).len();
    tune(folder.path(), &args);
    assert_eq!(records(&folder.path().join("records")).len(), before);
}

#[test]
fn halving_ends_at_full_length() {
    let folder = tempfile::tempdir().unwrap();
    let more =
        ["--method", "lora", "--budget", "4", "--strategy", "halving", "--max-steps", "8", "--trials-only"];
    tune(folder.path(), &more);
    let trials = found(folder.path())[0]["trials"].as_array().unwrap().clone();
    let steps: Vec<u64> = trials.iter().map(|trial| trial["steps"].as_u64().unwrap()).collect();
    assert_eq!(steps, [2, 2, 2, 2, 4, 4, 8]);
    assert!(!folder.path().join("tuned").exists());
}

#[test]
fn other_settings_have_the_whole_budget_each() {
    let folder = tempfile::tempdir().unwrap();
    let more = [
        "--method",
        "lora",
        "--budget",
        "2",
        "--over",
        "method.rank=2,4",
        "--max-steps",
        "3",
        "--trials-only",
    ];
    tune(folder.path(), &more);
    let trials = found(folder.path())[0]["trials"].as_array().unwrap().clone();
    let ranks: Vec<&str> = trials.iter().map(|trial| trial["settings"][0].as_str().unwrap()).collect();
    assert_eq!(ranks, ["method.rank=2", "method.rank=2", "method.rank=4", "method.rank=4"]);
}

#[test]
fn mistakes_show_before_anything_runs() {
    let tune = ["tune", "--method", "lora", "--task", "nlu", "--out", "never"];
    refused(&[&tune[..], &["--over", "rank=2"]].concat(), &["method.rank=8,16"]);
    refused(&[&tune[..], &["--over", "method.rnk=2"]].concat(), &["rnk", "rank"]);
    refused(&[&tune[..], &["--factor", "1"]].concat(), &["above 1"]);
    assert!(!Path::new(env!("CARGO_TARGET_TMPDIR")).join("never").exists());
}
