//! What merging, casting and quantizing lose is said in figures that can be told beforehand.

mod common;

use common::{adapter, refused, run, small, text, train, train_on};

fn report(args: &[&str]) -> (String, serde_json::Value) {
    let out = tempfile::tempdir().unwrap();
    let place = ["--out", out.path().to_str().unwrap(), "--threads", "1", "--quiet", "--texts", "8"];
    let output = run(&[&["fidelity"], args, &place].concat());
    assert!(output.status.success(), "{}", text(&output));
    let json = std::fs::read(out.path().join("fidelity.json")).unwrap();
    (text(&output), serde_json::from_slice(&json).unwrap())
}

fn figure(report: &serde_json::Value, adapter: &str, held: &str, key: &str) -> f64 {
    let rows = report["rows"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["held"] == held && row["adapter"].as_str().unwrap().contains(adapter))
        .unwrap_or_else(|| panic!("no `{held}` of `{adapter}` in {rows:#?}"));
    row[key].as_f64().unwrap()
}

#[test]
fn every_form_against_the_slot() {
    let trained = train("lora", &["--set", "methods.lora.optimizer.lr=0.02"]);
    let folder = adapter(trained.path(), "lora");
    let (said, report) = report(&[folder.to_str().unwrap()]);
    let of = |held: &str, key: &str| figure(&report, "", held, key);
    for key in ["weights_off", "logit_max", "kl", "tokens_changed"] {
        assert_eq!(of("slot over f32", key), 0.0, "{key}");
    }
    // Two orders of the same f32 sums.
    assert!(of("merged, f32", "logit_max") < 1e-3 && of("merged, f32", "kl") < 1e-6, "{said}");
    // The checkpoint is bf16 itself, so only the update is rounded; f16 has three bits more for it, and an exponent too small
    // for a few of the smallest weights.
    assert_eq!(of("slot over bf16", "weights_off"), 0.0);
    assert!(of("slot over f16", "weights_off") < 1e-6, "{said}");
    assert!(of("merged, bf16", "weights_off") > 4.0 * of("merged, f16", "weights_off"), "{said}");
    assert!(of("merged, f16", "weights_off") > of("merged, f32", "weights_off"), "{said}");
    // Four bits lose more than eight.
    for form in ["slot over", "merged,"] {
        assert!(of(&format!("{form} nf4"), "kl") > of(&format!("{form} bf16"), "kl"), "{said}");
    }
}

#[test]
fn a_merge_against_each_adapter() {
    let rate = ["--set", "methods.lora.optimizer.lr=0.02"];
    let (one, other) = (train("lora", &rate), train_on("safety", "lora", &rate));
    let one = adapter(one.path(), "lora");
    let other = common::adapter_on("safety", other.path(), "lora");
    let (one, other) = (one.to_str().unwrap(), other.to_str().unwrap());
    let (said, report) = report(&[one, other, "--weights", "1,0"]);
    // With the weights 1 and 0 the merge is the first adapter, and as far from the second as the two are.
    assert!(figure(&report, "nlu", "merged with 1 by cat", "weights_off") < 1e-3, "{said}");
    assert!(figure(&report, "safety", "merged with 1 by cat", "weights_off") > 0.9, "{said}");
}

#[test]
fn scores_stand_beside_and_mistakes_are_refused() {
    let trained = train("lora", &[]);
    let folder = adapter(trained.path(), "lora");
    let folder = folder.to_str().unwrap();
    let task = trained.path().join("nlu.toml");
    let shown = run(&[&["show", "--method", "lora", "--task", "nlu"][..], &strs(&small("nlu"))].concat());
    let shown: toml::Table = String::from_utf8(shown.stdout).unwrap().parse().unwrap();
    std::fs::write(&task, toml::to_string(&shown["task"]).unwrap()).unwrap();
    let (said, report) = report(&[folder, "--task", task.to_str().unwrap()]);
    assert!(said.contains("merged, nf4") && said.contains("accuracy"), "{said}");
    assert_eq!(report["rows"].as_array().unwrap().len(), 8);
    refused(&["fidelity", folder, "--weights", "1,2"], &["2 weights for 1 adapters"]);
    refused(&["fidelity", folder, "--dtype", "bf16"], &["every kind of number is tried"]);
    refused(&["fidelity", "/nowhere"], &["/nowhere"]);
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
