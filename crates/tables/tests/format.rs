//! What is wrong with a pack is said with its place.

use tables::{Pack, Procedure, Scale};

const PACK: &str = r#"name = "own"
seeds = 1

[paper]
title = "A Paper"
arxiv = "0000.00000"
item = "Table 1"
about = "grade-school mathematics"

[settings.method]
rank = 16

[models.m]
label = "M"
name = "hf:a/m"

[columns.gsm8k]
label = "GSM8K"
task = "gsm8k"
preset = "reference"
metric = "accuracy"

[rows.lora]
label = "LoRA"
model = "m"
method = "lora"
settings.method.optimizer.lr = 1e-4
cells = { gsm8k = { value = 42.5, grade = "figure" } }

[mini]
suite = "mini"
seeds = 3
columns = { gsm8k = "math" }
[mini.rows]
lora = {}
"#;

fn error(from: &str, to: &str) -> String {
    assert!(PACK.contains(from), "{from}");
    let error = Pack::parse(&PACK.replacen(from, to, 1), "own.toml").unwrap_err();
    format!("{error} | {}", error.hint().unwrap_or_default())
}

#[test]
fn a_pack_is_read() {
    let pack = Pack::parse(PACK, "own.toml").unwrap();
    let runs = pack.runs(Scale::Paper);
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].overrides, ["methods.lora.rank=16", "methods.lora.optimizer.lr=0.0001"]);
    assert_eq!(runs[0].model.as_deref(), Some("hf:a/m"));
    assert_eq!((runs[0].preset.as_deref(), runs[0].seeds), (Some("reference"), 1));
    assert_eq!(runs[0].procedure, Procedure::Single);
    let mini = pack.runs(Scale::Mini);
    assert_eq!((mini[0].task.as_str(), mini[0].suite.as_deref(), mini[0].seeds), ("math", Some("mini"), 3));
    // What is said for the paper's size is not said for the suite.
    assert!(mini[0].overrides.is_empty());
}

#[test]
fn typos_have_line_and_nearest_name() {
    let text = error("metric =", "metrik =");
    assert!(text.starts_with("`own.toml` line 21: unknown field `metrik`"), "{text}");
    assert!(text.ends_with("did you mean `metric`?"), "{text}");
    let text = error("grade = \"figure\"", "grade = \"figur\"");
    assert!(text.contains("line 28") && text.ends_with("did you mean `figure`?"), "{text}");
}

#[test]
fn names_must_be_those_of_something() {
    for (from, to, said) in [
        ("\"lora\"", "\"lroa\"", "row `lora`: no method is called `lroa` | did you mean `lora`?"),
        ("task = \"gsm8k\"", "task = \"gsm9k\"", "no task is called `gsm9k` | did you mean `gsm8k`?"),
        ("metric = \"accuracy\"", "metric = \"acuracy\"", "is called `acuracy` | did you mean `accuracy`?"),
        ("preset = \"reference\"", "preset = \"refrence\"", "`refrence`"),
        ("cells = { gsm8k", "cells = { gsm", "no column is called `gsm` | did you mean `gsm8k`?"),
        ("model = \"m\"", "model = \"n\"", "no model is called `n`"),
        ("{ gsm8k = \"math\" }", "{ gsm8k = \"maths\" }", "no task is called `maths` | did you mean `math`?"),
        ("lora = {}", "lorra = {}", "no row is called `lorra` | did you mean `lora`?"),
    ] {
        let text = error(from, to);
        assert!(text.contains(said), "{text}");
    }
}

#[test]
fn contradictions_are_refused() {
    for (from, to, said) in [
        ("cells = {", "#", "it says why there are no cells"),
        ("method = \"lora\"\n", "", "it needs either `method` or `without`"),
        ("task = \"gsm8k\"\n", "", "it needs one of `task`, `average_of` and `without`"),
        ("name = \"hf:a/m\"", "", "it needs either `name` or `without`"),
        ("seeds = 3", "seeds = 0", "at least one seed"),
        ("value = 42.5", "value = inf", "inf"),
    ] {
        let text = error(from, to);
        assert!(text.contains(said), "{text}");
    }
}

#[test]
fn settings_that_a_task_does_not_have_are_refused() {
    let text = error("[settings.method]", "[settings.task.training]\nepoch = 3\n[settings.method]");
    assert!(text.contains("row `lora` on task `gsm8k`"), "{text}");
    assert!(text.ends_with("did you mean `epochs`?"), "{text}");
}
