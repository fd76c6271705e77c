//! Bad input is answered with the place, the value and a hint, before any work is lost.

mod common;

use std::fs;
use std::path::Path;

use common::{adapter, harness, records, refused, run, small, text, train};

#[test]
fn unknown_names_have_near_ones() {
    refused(&["--method", "lroa"], &["unknown method `lroa`", "did you mean `lora`"]);
    refused(&["--method", "lora", "--task", "maths"], &["`maths`", "did you mean `math`"]);
    refused(&["--method", "lora", "--model", "builtin:mnii", "--task", "nlu"], &["`mnii`", "`mini`"]);
    refused(&["--method", "lora", "--suite", "mni"], &["unknown suite `mni`", "`mini`"]);
    refused(&["list", "metods"], &["methods"]);
}

#[test]
fn unknown_keys_have_a_line_and_a_near_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.toml");
    let config = file.to_str().unwrap();
    let with = |content: &str, all: &[&str]| {
        fs::write(&file, content).unwrap();
        refused(&["--method", "lora", "--task", "nlu", "--config", config], all);
    };
    with("[method]\n\nrnak = 4\n", &["own.toml line 3", "`rnak`", "did you mean `rank`"]);
    with("[task.training]\nstpes = 4\n", &["own.toml line 2", "`stpes`", "did you mean `steps`"]);
    with("[methods.lora]\noptimizer.lrr = 1e-3\n", &["own.toml line 2", "`lrr`", "`lr`"]);
    with("[metod]\n", &["own.toml line 1", "`method`"]);
    with("[methods.lroa]\nrank = 4\n", &["own.toml line 1", "did you mean `lora`"]);
    refused(&["--method", "lora", "--set", "rank=4"], &["--set rank=4", "method.rank"]);
    refused(&["--method", "lora", "--set", "method.rnk=4"], &["`rnk`", "`rank`"]);
}

#[test]
fn targets_that_match_nothing() {
    let out = tempfile::tempdir().unwrap();
    let mut args = vec!["--method", "lora", "--task", "nlu", "--out", out.path().to_str().unwrap()];
    args.extend(["--set", r#"task.training.targets=["q_prj"]"#]);
    refused(&args, &["`q_prj` matches no linear layer", "did you mean `q_proj`"]);
}

#[test]
fn a_folder_that_cannot_be_written_is_found_first() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let out = file.join("out");
    refused(&["--method", "lora", "--out", out.to_str().unwrap()], &["cannot write to", "file/out"]);
}

#[test]
fn a_loss_that_is_not_a_number() {
    let folder = tempfile::tempdir().unwrap();
    let small = small("nlu");
    let mut args =
        vec!["--method", "lora", "--task", "nlu", "--max-steps", "6", "--set", "method.optimizer.lr=1e30"];
    args.extend(["--out", folder.path().to_str().unwrap()]);
    args.extend(small.iter().map(String::as_str));
    refused(&args, &["the loss is NaN at step", "lower the learning rate"]);
    // The base was measured, and the failure is on record.
    let records = records(folder.path());
    assert!(
        records.iter().any(|record| record["method"] == "base" && record["status"]["state"] == "success"),
        "{records:?}"
    );
    assert!(
        records.iter().any(|record| record["method"] == "lora" && record["status"]["state"] == "failed"),
        "{records:?}"
    );
}

#[test]
fn adapter_files_that_do_not_fit() {
    let folder = train("lora", &[]);
    let good = adapter(folder.path(), "lora");
    let tensors = "adapter_model.safetensors";
    let eval = |adapter: &Path, more: &[&'static str], all: &[&str]| {
        let mut args = vec!["eval", "--task", "nlu", "--adapter", adapter.to_str().unwrap()];
        args.extend(more);
        refused(&args, all);
    };
    let copy = |change: &dyn Fn(&Path)| {
        let copy = tempfile::tempdir().unwrap();
        for name in ["adapter_config.json", tensors] {
            fs::copy(good.join(name), copy.path().join(name)).unwrap();
        }
        change(copy.path());
        copy
    };

    let cut = copy(&|folder| {
        let bytes = fs::read(folder.join(tensors)).unwrap();
        fs::write(folder.join(tensors), &bytes[..bytes.len() - 100]).unwrap();
    });
    eval(cut.path(), &[], &[tensors, "truncated"]);

    let lacking = copy(&|folder| {
        rewrite(&folder.join(tensors), |all| {
            all.retain(|name, _| !name.contains("layers.2.mlp.up_proj.lora_B"));
        });
    });
    eval(lacking.path(), &[], &["missing", "layers.2.mlp.up_proj.lora_B.weight"]);

    let surplus = copy(&|folder| {
        rewrite(&folder.join(tensors), |all| {
            let some = all.values().next().unwrap().shallow_clone();
            all.insert("base_model.model.model.layers.9.mlp.up_proj.lora_B.weight".to_owned(), some);
        });
    });
    eval(surplus.path(), &[], &["layers.9.mlp.up_proj.lora_B.weight"]);

    let misshapen = copy(&|folder| {
        rewrite(&folder.join(tensors), |all| {
            let (_, tensor) = all.iter_mut().find(|(name, _)| name.contains("q_proj.lora_A")).unwrap();
            *tensor = tensor.narrow(1, 0, 8).contiguous();
        });
    });
    eval(misshapen.path(), &[], &["q_proj.lora_A.weight", "[16, 160]", "[16, 8]"]);

    let other_base = tempfile::tempdir().unwrap();
    let out = other_base.path().to_str().unwrap();
    let merged = run(&["merge-into-base", "--adapter", good.to_str().unwrap(), "--out", out]);
    assert!(merged.status.success(), "{}", text(&merged));
    let model: &'static str = out.to_owned().leak();
    eval(&good, &["--model", model], &["another base"]);
}

/// Changes the tensors of a file and keeps its metadata.
fn rewrite(path: &Path, change: impl Fn(&mut peft_core::StateDict)) {
    let (mut tensors, metadata) = peft_core::tensor_file::read(path).unwrap();
    change(&mut tensors);
    peft_core::tensor_file::write(path, &tensors, &metadata).unwrap();
}

const TASK: &str = r#"
name = "own"
description = "A task of one's own"
[data.files]
format = "jsonl"
fields = { question = "q", answer = "a" }
[data.files.splits]
train = { file = "train.jsonl" }
validation = { last_of_train = 1 }
test = { file = "test.jsonl" }
[prompt]
template = " question : {question} answer :"
response = " {answer}"
loss = "response"
bos = "prepend"
eos = "append"
[training]
model = "builtin:mini"
targets = "all-linear"
steps = 2
batch_size = 2
max_length = 24
truncation = "error"
order = "shuffled"
last_batch = "keep"
dtype = "f32"
reduction = "token_mean"
schedule = "linear"
warmup = 1
weight_decay = 0.0
eval_every = 0
select = "last"
[decoding]
strategy = "greedy"
max_new_tokens = 4
stop = []
[scoring]
metrics = [{ name = "accuracy", version = 1 }]
engine = { first_word = { answer = "answer" } }
"#;

#[test]
fn data_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let good = "{\"q\": \"is it\", \"a\": \"yes\"}\n";
    fs::write(at("own.toml"), TASK).unwrap();
    fs::write(at("train.jsonl"), good.repeat(6)).unwrap();
    fs::write(at("test.jsonl"), good.repeat(3)).unwrap();
    let (task, data, out) = (at("own.toml"), at("."), at("out"));
    let args = ["--method", "lora", "--task", &task, "--data", &data, "--out", &out];
    let output = run(&args);
    assert!(output.status.success(), "{}", text(&output));

    fs::write(at("test.jsonl"), "").unwrap();
    refused(&args, &["test.jsonl", "no"]);
    fs::write(at("test.jsonl"), format!("{good}{{\"q\": \"is it\", \"a\" \"yes\"}}\n")).unwrap();
    refused(&args, &["test.jsonl", "line 2"]);
    fs::write(at("test.jsonl"), format!("{good}{good}{{\"q\": \"is it\"}}\n")).unwrap();
    refused(&args, &["test.jsonl", "line 3", "`a`"]);
    refused(&args[..4], &["--data"]);

    // Too long for `max_length`: an error, or counted, as the task says.
    fs::write(at("test.jsonl"), good).unwrap();
    let long = format!("{{\"q\": \"{}\", \"a\": \"yes\"}}\n", "is it ".repeat(20));
    fs::write(at("train.jsonl"), format!("{long}{}", good.repeat(6))).unwrap();
    refused(&args, &["tokens", "24"]);
    let mut counted = args.to_vec();
    counted.extend(["--set", "task.training.truncation=keep_end"]);
    let output = run(&counted);
    assert!(output.status.success(), "{}", text(&output));
    let notes = records(Path::new(&out)).iter().map(|record| record["notes"].to_string()).collect::<String>();
    assert!(notes.contains("1 sequences cut and 0 dropped at 24 tokens"), "{notes}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_keeps_what_was_measured() {
    let folder = tempfile::tempdir().unwrap();
    let small = small("nlu");
    let mut args = vec!["--method", "lora", "--task", "nlu", "--max-steps", "1000000", "--threads", "1"];
    args.extend(["--out", folder.path().to_str().unwrap()]);
    args.extend(small.iter().map(String::as_str));
    let child = harness(&args)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The record of the base is there as soon as training begins.
    while records(folder.path()).is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    assert!(text(&output).contains("interrupted"), "{}", text(&output));
    let records = records(folder.path());
    let lora = records.iter().find(|record| record["method"] == "lora").expect("the run is on record");
    assert_eq!(lora["status"]["state"], "interrupted");
    assert!(lora["curves"]["loss"].as_array().is_some_and(|losses| !losses.is_empty()), "{lora}");
    assert!(adapter(folder.path(), "lora").join("adapter_model.safetensors").exists());
    assert!(folder.path().join("summary.json").exists());
}
