//! Stored answers, scored again through the binary.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{records, refused, run, text, train_on};
use serde_json::Value;

/// Copies of the task `nlu` as it is trained here, with other rules.
fn rules(folder: &Path, name: &str, change: impl FnOnce(&str) -> String) -> PathBuf {
    let nlu = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/tasks/nlu.toml");
    let path = folder.join(name);
    fs::write(&path, change(&fs::read_to_string(nlu).unwrap())).unwrap();
    path
}

/// Counts what holds `word`.
fn holding(word: &str) -> impl FnOnce(&str) -> String {
    let scoring = format!(
        "[scoring]\nmetrics = [{{ name = \"refusal_rate\", version = 1 }}]\nengine = {{ refusal = {{ refusals = [\"{word}\"] }} }}\n"
    );
    move |task| format!("{}{scoring}", &task[..task.find("[scoring]").unwrap()])
}

fn all(folder: &Path) -> Vec<Value> {
    let mut all = records(folder);
    all.sort_by_key(|record| (record["method"].to_string(), record["revision"].as_u64()));
    all
}

#[test]
fn stored_answers_are_scored_by_other_rules_and_nothing_is_run() {
    let out = train_on("nlu", "lora", &[]);
    let folder = out.path().to_str().unwrap();
    let before = all(out.path());
    assert_eq!(before.len(), 2, "the base and LoRA");

    // By the rules of today nothing changes, and nothing is written.
    let same = run(&["rescore", folder]);
    assert!(same.status.success(), "{}", text(&same));
    assert!(text(&same).contains("0 records scored anew") && text(&same).contains("2 as they were"));
    assert_eq!(all(out.path()), before);

    // By others each record gets a revision, whose value follows from the answers that it keeps.
    let runs = compare::collect(out.path()).unwrap();
    let answers = |method: &str| -> Vec<String> {
        let run = runs.iter().find(|run| run.record.method == method).unwrap();
        run.outcomes().unwrap().iter().map(|outcome| outcome.output.clone()).collect()
    };
    let word: String = answers("lora")[0].split_whitespace().next().unwrap().to_owned();
    let task = rules(out.path(), "nlu.toml", holding(&word));
    let task = task.to_str().unwrap();
    let changed = run(&["rescore", folder, "--task", task]);
    let said = text(&changed);
    assert!(changed.status.success() && said.contains("2 records scored anew"), "{said}");
    assert!(said.contains("refusal_rate") && said.contains("– "), "{said}");
    let after = all(out.path());
    assert_eq!(after.len(), 4, "the old ones stay");
    for method in ["base", "lora"] {
        let answers = answers(method);
        let share =
            answers.iter().filter(|answer| answer.contains(&word)).count() as f64 / answers.len() as f64;
        let record = after.iter().find(|r| r["method"] == method && r["revision"] == 1).unwrap();
        assert_eq!(record["metrics"][0]["name"], "refusal_rate");
        assert!((record["metrics"][0]["value"].as_f64().unwrap() - share).abs() < 1e-12, "{method}");
        assert_eq!(record["config"]["task"]["scoring"]["metrics"][0]["name"], "refusal_rate");
        assert_eq!(record["outcomes"]["count"], answers.len());
    }
    // What is read from then on is the new revision; once more changes nothing.
    let read = compare::collect(out.path()).unwrap();
    assert!(read.iter().all(|run| run.record.revision == 1));
    let again = run(&["rescore", folder, "--task", task]);
    assert!(text(&again).contains("0 records scored anew"), "{}", text(&again));
    assert_eq!(all(out.path()), after);
}

#[test]
fn what_cannot_be_scored_again_is_refused_by_name_and_the_rest_is() {
    let out = train_on("nlu", "lora", &[]);
    let folder = out.path().to_str().unwrap();
    let task = rules(out.path(), "nlu.toml", holding("e"));
    let task = task.to_str().unwrap();
    let path_of = |method: &str| {
        let seed = out.path().join("records/mini/nlu").join(method).join("seed-0");
        let mut paths = fs::read_dir(seed).unwrap().map(|entry| entry.unwrap().path());
        paths.find(|path| path.extension().is_some_and(|end| end == "json")).unwrap()
    };
    let change = |path: &Path, change: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        change(&mut value);
        fs::write(path, value.to_string()).unwrap();
    };
    let lora = path_of("lora");
    let whole = fs::read(&lora).unwrap();

    // Other items: the other record is scored all the same.
    change(&lora, &|value| value["data"]["test"]["hash"] = "0123456789abcdef0123".into());
    let said = [
        "1 record scored anew",
        "1 record cannot be scored again",
        "its test items are not those of the task",
    ];
    refused(&["rescore", folder, "--task", task], &said);
    assert_eq!(all(out.path()).len(), 3);

    fs::write(&lora, &whole).unwrap();
    let lora_path = lora.to_str().unwrap();
    change(&lora, &|value| value["config"]["task"]["data"]["builtin"]["nlu"]["seed"] = 5.into());
    refused(&["rescore", lora_path, "--task", task], &["its test items are not those of the task"]);
    fs::write(&lora, &whole).unwrap();
    change(&lora, &|value| value["config"]["task"] = Value::Null);
    refused(&["rescore", lora_path], &["its configuration holds no task"]);
    fs::write(&lora, &whole).unwrap();
    change(&lora, &|value| value["config"]["task"]["name"] = "mine".into());
    refused(&["rescore", lora_path], &["no task is called `mine`: name its file with `--task FILE`"]);
    fs::write(&lora, &whole).unwrap();
    refused(&["rescore", lora_path, "--task", "math"], &["no record is of task `math`; 1 are of others"]);
    // An imported result has no answers.
    change(&lora, &|value| value["outcomes"] = Value::Null);
    refused(&["rescore", lora_path], &["it has no outputs to score again"]);
    refused(&["rescore", out.path().join("adapters").to_str().unwrap()], &["holds no run"]);
    fs::write(&lora, &whole).unwrap();
    let fine = run(&["rescore", lora_path, "--task", task]);
    assert!(fine.status.success(), "{}", text(&fine));
}
