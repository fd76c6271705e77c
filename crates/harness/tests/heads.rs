//! Tasks for models that do not go on with a text: classes, values, spans, and another text.

mod common;

use std::path::{Path, PathBuf};

use common::{records, run, text};
use peft_testkit::shared;
use serde_json::{Value, json};

/// A task file around what the tests differ in.
fn task(head: &str, prompt: &str, engine: &str, metric: &str, model: &Path) -> String {
    format!(
        r#"
name = "toy"
description = "A toy"
{head}
[data.files]
format = "jsonl"
fields = {{ text = "text", second = "second", label = "label", answers = "answers", starts = "starts" }}
[data.files.splits]
train = {{ file = "train.jsonl" }}
validation = {{ file = "train.jsonl" }}
test = {{ file = "train.jsonl" }}
[prompt]
template = "{{text}}"
{prompt}
response = "{{label}}"
loss = "response"
bos = "none"
eos = "none"
[training]
model = "{model}"
targets = "all-linear"
steps = 40
batch_size = 8
max_length = 32
truncation = "keep_start"
order = "shuffled"
last_batch = "keep"
dtype = "f32"
reduction = "token_mean"
schedule = "constant"
warmup = 0
weight_decay = 0.0
eval_every = 1.0
select = "last"
[decoding]
strategy = {{ beams = {{ count = 2, length_penalty = 1.0 }} }}
max_new_tokens = 6
stop = []
[scoring]
metrics = [{{ name = "{metric}", version = 1 }}]
engine = {engine}
"#,
        model = model.display()
    )
}

fn folder(task: &str, items: impl Iterator<Item = Value>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("toy.toml"), task).unwrap();
    let lines: Vec<String> = items.map(|item| item.to_string()).collect();
    std::fs::write(folder.path().join("train.jsonl"), lines.join("\n")).unwrap();
    folder
}

fn succeeds(args: &[&str]) {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", text(&output));
}

/// Trains and gives the folder of the run with its primary metric.
fn learn(folder: &Path, method: &str, lr: &str) -> (PathBuf, f64) {
    let [file, out] = ["toy.toml", "out"].map(|name| folder.join(name).display().to_string());
    let data = folder.display().to_string();
    let rate = format!("method.optimizer.lr={lr}");
    let seen = ["--task", &file, "--data", &data];
    succeeds(
        &[
            &["run"],
            &seen[..],
            &["--method", method, "--set", &rate, "--threads", "1", "--quiet", "--out", &out],
        ]
        .concat(),
    );
    let record = records(Path::new(&out)).into_iter().find(|record| record["method"] == method).unwrap();
    (PathBuf::from(out), record["metrics"][0]["value"].as_f64().unwrap())
}

fn minilm() -> Option<PathBuf> {
    shared("models/all-minilm-l6-v2")
}

fn animals() -> impl Iterator<Item = Value> {
    let animals = ["dog", "cat", "horse", "cow", "sheep", "mouse", "bird", "fish"];
    let plants = ["oak", "rose", "grass", "tulip", "moss", "fern", "wheat", "lily"];
    animals.into_iter().zip(plants).flat_map(|(animal, plant)| {
        [(animal, plant, "animal"), (plant, animal, "plant")].map(|(text, second, label)| {
            json!({ "text": format!("the {text}"), "second": second, "label": label,
                    "answers": format!("[{second:?}]"), "starts": "[0]" })
        })
    })
}

/// The adapter holds the head, so scoring it over a base with another head gives the same.
#[test]
fn classes_are_learned_and_saved_with_their_head() {
    let Some(model) = minilm() else { return };
    let head = r#"head = { classes = ["plant", "animal"] }"#;
    let task = task(head, "", r#"{ option = { answer = "label" } }"#, "accuracy", &model);
    let folder = folder(&task, animals());
    let (out, accuracy) = learn(folder.path(), "lora", "1e-3");
    assert!(accuracy > 0.9, "{accuracy}");

    let adapter = out.join("adapters/toy/lora/seed-0");
    let config: Value =
        serde_json::from_str(&std::fs::read_to_string(adapter.join("adapter_config.json")).unwrap()).unwrap();
    assert_eq!(
        (&config["task_type"], &config["modules_to_save"]),
        (&json!("SEQ_CLS"), &json!(["classifier"]))
    );
    let name = |path: &Path| path.display().to_string();
    let (file, data) = (name(&folder.path().join("toy.toml")), name(folder.path()));
    let (adapter, again) = (name(&adapter), name(&folder.path().join("again")));
    succeeds(&["eval", "--task", &file, "--data", &data, "--adapter", &adapter, "--quiet", "--out", &again]);
    let summary = std::fs::read_to_string(Path::new(&again).join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let found = summary.pointer("/rows/0/value");
    assert_eq!(found.and_then(Value::as_f64), Some(accuracy), "{summary:#}");
}

#[test]
fn values_are_learned() {
    let Some(model) = minilm() else { return };
    let items = animals().map(|mut item| {
        item["label"] = json!(if item["label"] == "animal" { "4.5" } else { "-1.0" });
        item
    });
    let task = task("head = \"value\"", "", r#"{ value = { answer = "label" } }"#, "pearson", &model);
    let (_, correlation) = learn(folder(&task, items).path(), "lora", "1e-3");
    assert!(correlation > 0.9, "{correlation}");
}

#[test]
fn spans_are_learned() {
    let Some(model) = minilm() else { return };
    let items = animals().map(|mut item| {
        let context = format!("here is a small {} by the river", item["second"].as_str().unwrap());
        item["starts"] = json!("[16]");
        item["label"] = item["second"].clone();
        item["second"] = json!(context);
        item
    });
    let head = "[head.span]\nanswers = \"answers\"\nstarts = \"starts\"\nstride = 4\nmax_answer_tokens = 4\n\
                unanswerable = false\n";
    let engine = r#"{ span = { answers = "answers" } }"#;
    let task = task(head, "second = \"{second}\"", engine, "exact_match", &model);
    let (_, matches) = learn(folder(&task, items).path(), "lora", "1e-3");
    assert!(matches > 0.9, "{matches}");
}

/// A tiny BART with a vocabulary of words learns to answer each word with another.
#[test]
fn another_text_is_learned() {
    let Some(case) = shared("parity/model-bart/model") else { return };
    let words = ["one", "two", "three", "four", "uno", "due", "tre", "quattro"];
    let mut vocabulary = vec!["<s>".to_owned(), "<pad>".to_owned(), "</s>".to_owned(), "<unk>".to_owned()];
    vocabulary.extend(words.map(str::to_owned));
    let ids: serde_json::Map<String, Value> =
        vocabulary.iter().enumerate().map(|(id, word)| (word.clone(), json!(id))).collect();
    let special = |content: &str, id: usize| {
        json!({ "id": id, "content": content, "special": true, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false })
    };
    let piece = |id: &str| json!({ "SpecialToken": { "id": id, "type_id": 0 } });
    let text = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null,
        "added_tokens": [special("<s>", 0), special("<pad>", 1), special("</s>", 2)],
        "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [piece("<s>"), text("A"), piece("</s>")],
            "pair": [piece("<s>"), text("A"), piece("</s>"), text("B"), piece("</s>")],
            "special_tokens": {
                "<s>": { "id": "<s>", "ids": [0], "tokens": ["<s>"] },
                "</s>": { "id": "</s>", "ids": [2], "tokens": ["</s>"] },
            },
        },
        "model": { "type": "WordLevel", "vocab": ids, "unk_token": "<unk>" },
    });
    let items = (0..4).map(
        |i| json!({ "text": words[i], "second": "", "label": words[i + 4], "answers": "[]", "starts": "[]" }),
    );
    let model = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(case.join(name), model.path().join(name)).unwrap();
    }
    std::fs::write(model.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let engine = r#"{ option = { answer = "label" } }"#;
    let task = task("", "", engine, "accuracy", model.path());
    // The embedding, with which the output is tied, is too small to say much, so everything learns.
    let (_, accuracy) = learn(folder(&task, items).path(), "full", "1e-2");
    assert!(accuracy > 0.9, "{accuracy}");
}

/// The file that the README shows, as it stands there.
#[test]
fn the_task_of_the_readme_works() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
    let (_, after) = readme.split_once("### A task of your own").unwrap();
    let (_, toml) = after.split_once("```toml\n").unwrap();
    let (toml, _) = toml.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("capitals.toml"), toml).unwrap();
    let lines: Vec<String> = (0..12)
        .map(|i| {
            json!({ "q": format!("What is the capital of land {i}?"), "a": format!("Town {i}") }).to_string()
        })
        .collect();
    std::fs::write(path("capitals.jsonl"), lines.join("\n")).unwrap();
    let (file, data, out) = (path("capitals.toml"), path(""), path("out"));
    succeeds(&[
        "--method",
        "lora",
        "--task",
        &file,
        "--data",
        &data,
        "--out",
        &out,
        "--threads",
        "1",
        "--quiet",
    ]);
    let record = records(Path::new(&out)).into_iter().find(|record| record["method"] == "lora").unwrap();
    assert_eq!(record["data"]["test"]["items"], 4);
}
