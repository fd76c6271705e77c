//! Data files: formats, splits, hashes, and errors that name file and line.

use flate2::{Compression, write::GzEncoder};
use std::fs;
use std::io::Write;
use std::path::Path;
use tasks::{Split, Task, TaskConfig};
use tempfile::TempDir;

const TASK: &str = r#"
name = "own"
description = "A user's own task"
[data.files]
format = "FORMAT"
fields = { question = "q", answer = "ANSWER" }
rewrite = [{ field = "short", from = "answer", pattern = ' .*', with = "" }]
[data.files.splits]
train = { file = "train.EXT" }
validation = VALIDATION
test = { file = "test.EXT" }
[prompt]
template = "{question}:"
response = " {answer}"
loss = "response"
bos = "none"
eos = "none"
[training]
model = "builtin:mini"
targets = "all-linear"
steps = 10
batch_size = 4
max_length = 64
truncation = "error"
order = "shuffled"
last_batch = "keep"
dtype = "f32"
reduction = "token_mean"
schedule = "linear"
warmup = 0.1
weight_decay = 0.0
eval_every = 1.0
select = "last"
[decoding]
strategy = { sample = { temperature = 0.7, top_p = 0.9 } }
max_new_tokens = 4
stop = []
[scoring]
metrics = [{ name = "accuracy", version = 1 }]
engine = { first_word = { answer = "short" } }
"#;

fn config(format: &str, extension: &str) -> TaskConfig {
    with_validation(format, extension, "{ last_of_train = 1 }", "a")
}

fn with_validation(format: &str, extension: &str, validation: &str, answer: &str) -> TaskConfig {
    let text = TASK
        .replace("FORMAT", format)
        .replace("EXT", extension)
        .replace("VALIDATION", validation)
        .replace("ANSWER", answer);
    TaskConfig::parse(&text, "own.toml").unwrap()
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

fn answers(task: &Task, split: Split) -> Vec<&str> {
    task.items(split).iter().map(|item| item.fields["answer"].as_str()).collect()
}

/// The error of loading, without the folder's name, and its hint.
fn failure(config: TaskConfig, dir: &Path) -> String {
    let error = Task::load(config, Some(dir)).unwrap_err();
    let shown = error.to_string().replace(&format!("{}/", dir.display()), "");
    format!("{shown} | {}", error.hint().unwrap_or_default())
}

#[test]
fn every_format_gives_the_same_items() {
    let rows = [("one", "yes indeed"), ("two \"x\"", "no, sir"), ("drei\u{e4}", "7")];
    let line =
        |(q, a): &(&str, &str)| serde_json::json!({"q": q, "a": a, "other": [1, null]}).to_string() + "\n";
    let jsonl: String = rows.iter().map(line).collect();
    let json = serde_json::to_string_pretty(
        &rows.iter().map(|(q, a)| serde_json::json!({"q": q, "a": a})).collect::<Vec<_>>(),
    )
    .unwrap();
    let csv: String = std::iter::once("q,a\n".to_owned())
        .chain(rows.iter().map(|(q, a)| format!("\"{}\",\"{a}\"\n", q.replace('"', "\"\""))))
        .collect();
    let tsv: String =
        std::iter::once("q\ta\n".to_owned()).chain(rows.iter().map(|(q, a)| format!("{q}\t{a}\n"))).collect();
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    gz.write_all(jsonl.as_bytes()).unwrap();
    let gz = gz.finish().unwrap();

    let mut seen = Vec::new();
    for (format, extension, bytes) in [
        ("jsonl", "jsonl", jsonl.as_bytes()),
        ("jsonl", "jsonl.gz", &gz[..]),
        ("json", "json", json.as_bytes()),
        ("csv", "csv", csv.as_bytes()),
        ("tsv", "tsv", tsv.as_bytes()),
    ] {
        let names = [format!("train.{extension}"), format!("test.{extension}")];
        let dir = folder(&[(&names[0], bytes), (&names[1], bytes)]);
        let task = Task::load(config(format, extension), Some(dir.path())).unwrap();
        assert_eq!(answers(&task, Split::Train), ["yes indeed", "no, sir"], "{extension}");
        assert_eq!(answers(&task, Split::Validation), ["7"]);
        assert_eq!(task.items(Split::Train)[0].fields["short"], "yes", "rewritten");
        assert_eq!(task.items(Split::Train)[1].prompt, "two \"x\":");
        assert_eq!(task.items(Split::Train)[1].response, " no, sir");
        let file = &task.files()[0];
        assert_eq!(
            (file.bytes, file.records, file.path.to_str().unwrap()),
            (bytes.len() as u64, 3, names[0].as_str())
        );
        seen.push(task.digest(Split::Train));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1);
}

#[test]
fn the_hash_is_that_of_the_file() {
    let text = b"{\"q\": \"a\", \"a\": \"b\"}\n{\"q\": \"c\", \"a\": \"d\"}\n";
    let dir = folder(&[("train.jsonl", text), ("test.jsonl", text)]);
    let task = Task::load(config("jsonl", "jsonl"), Some(dir.path())).unwrap();
    // sha256sum train.jsonl
    assert_eq!(task.files()[0].sha256, "d17b650541c171abd008809660167f49132c8ab2b0e34cba43be16be1d6b3fee");
}

#[test]
fn nested_and_typed_fields_become_text() {
    let text = b"{\"q\": 3, \"m\": {\"list\": [{\"v\": true}]}}\n{\"q\": 1.5, \"m\": {\"list\": [{\"v\": [1, 2]}]}}\n";
    let dir = folder(&[("train.jsonl", text), ("test.jsonl", text)]);
    let config = with_validation("jsonl", "jsonl", "{ last_of_train = 1 }", "m.list.0.v");
    let task = Task::load(config, Some(dir.path())).unwrap();
    let test: Vec<_> =
        task.items(Split::Test).iter().map(|item| (item.prompt.as_str(), item.response.as_str())).collect();
    assert_eq!(test, [("3:", " true"), ("1.5:", " [1,2]")]);
}

#[test]
fn errors_name_file_and_line() {
    let good = "{\"q\": \"a\", \"a\": \"b\"}\n";
    let jsonl = |bad: &[u8]| {
        let text = [good.as_bytes(), b"\n", bad, good.as_bytes()].concat();
        let dir = folder(&[("train.jsonl", &text), ("test.jsonl", good.as_bytes())]);
        failure(config("jsonl", "jsonl"), dir.path())
    };
    assert_eq!(
        jsonl(b"{\"q\": \"a\", \"a\": \n"),
        "`train.jsonl` line 3: EOF while parsing a value (column 15) | "
    );
    assert_eq!(
        jsonl(b"{\"q\": \"a\", \"an\": \"b\"}\n"),
        "`train.jsonl` line 3: no field `a` | did you mean `an`?"
    );
    assert_eq!(jsonl(b"{\"q\": \"a\", \"a\": null}\n"), "`train.jsonl` line 3: nothing in field `a` | ");
    assert_eq!(jsonl(b"[1]\n"), "`train.jsonl` line 3: not a JSON object | ");
    assert!(jsonl(b"{\"q\": \"\xff\"}\n").starts_with("`train.jsonl` line 3: invalid utf-8 sequence"));

    let array = |text: &str| {
        let dir =
            folder(&[("train.json", text.as_bytes()), ("test.json", b"[{\"q\": \"a\", \"a\": \"b\"}]")]);
        failure(config("json", "json"), dir.path())
    };
    assert_eq!(
        array("[\n{\"q\": \"a\", \"a\": \"b\"},\n{\"q\": \"a\"}\n]"),
        "`train.json` line 3: no field `a` | known: q"
    );
    assert!(
        array("[\n{\"q\": \"a\", \"a\": \"b\"},\n{\"q\" \"a\"}\n]")
            .starts_with("`train.json` line 3: expected `:`")
    );
    assert!(
        array("{\"q\": 1}")
            .starts_with("`train.json` line 1: invalid type: map, expected an array of objects")
    );
    assert!(array("[] []").starts_with("`train.json` line 1: trailing characters"));

    let table = |text: &[u8]| {
        let dir = folder(&[("train.csv", text), ("test.csv", b"q,a\nx,y\n")]);
        failure(config("csv", "csv"), dir.path())
    };
    assert_eq!(table(b"q,a\n1,2\n3\n"), "`train.csv` line 3: 1 columns where the header has 2 | ");
    assert_eq!(table(b"q,b\n1,2\n"), "`train.csv` line 2: no field `a` | known: q, b");
    assert_eq!(table(b"q,a\n1,2\n\xff,4\n"), "`train.csv` line 3: not UTF-8 | ");
}

#[test]
fn empty_and_missing_files_are_errors() {
    let good: &[u8] = b"{\"q\": \"a\", \"a\": \"b\"}\n";
    for empty in [&b""[..], b"\n \n"] {
        let dir = folder(&[("train.jsonl", empty), ("test.jsonl", good)]);
        assert_eq!(failure(config("jsonl", "jsonl"), dir.path()), "`train.jsonl` holds no records | ");
    }
    let dir = folder(&[("train.csv", b"q,a\n"), ("test.csv", b"q,a\n")]);
    assert_eq!(failure(config("csv", "csv"), dir.path()), "`train.csv` holds no records | ");
    let dir = folder(&[("test.jsonl", good)]);
    assert!(
        failure(config("jsonl", "jsonl"), dir.path()).starts_with("cannot read `train.jsonl`: No such file")
    );
}

#[test]
fn hashed_splits_ignore_the_order_of_the_file_and_keep_copies_together() {
    let rows: Vec<_> = (0..40).map(|i| format!("{{\"q\": \"{}\", \"a\": \"x\"}}\n", i % 30)).collect();
    let validation = |rows: &[String]| {
        let text = rows.concat();
        let dir = folder(&[("train.jsonl", text.as_bytes()), ("test.jsonl", text.as_bytes())]);
        let config = with_validation("jsonl", "jsonl", "{ hashed_of_train = 8 }", "a");
        let task = Task::load(config, Some(dir.path())).unwrap();
        let prompts = |split| {
            let mut prompts: Vec<_> = task.items(split).iter().map(|item| item.prompt.clone()).collect();
            prompts.sort();
            prompts
        };
        (prompts(Split::Validation), prompts(Split::Train))
    };
    let (held, rest) = validation(&rows);
    let reversed: Vec<_> = rows.iter().rev().cloned().collect();
    assert_eq!(validation(&reversed), (held.clone(), rest.clone()));
    assert!((8..10).contains(&held.len()), "{}", held.len());
    assert_eq!(held.len() + rest.len(), 40);
    assert!(held.iter().all(|prompt| !rest.contains(prompt)), "copies stay together");
}

#[test]
fn a_split_cannot_take_everything() {
    let text: &[u8] = b"{\"q\": \"a\", \"a\": \"b\"}\n";
    let dir = folder(&[("train.jsonl", text), ("test.jsonl", text)]);
    for rule in ["{ last_of_train = 1 }", "{ hashed_of_train = 1 }"] {
        let error = failure(with_validation("jsonl", "jsonl", rule, "a"), dir.path());
        assert!(
            error.starts_with("task `own` wants 1 items in its validation split and only 0 exist"),
            "{error}"
        );
    }
}

#[test]
fn limits_keep_the_first_items() {
    let text: &[u8] =
        b"{\"q\": \"a\", \"a\": \"1\"}\n{\"q\": \"b\", \"a\": \"2\"}\n{\"q\": \"c\", \"a\": \"3\"}\n";
    let dir = folder(&[("train.jsonl", text), ("test.jsonl", text)]);
    let config = config("jsonl", "jsonl").with(&[("data.files.limit.test", "2")], "--set").unwrap();
    let task = Task::load(config, Some(dir.path())).unwrap();
    assert_eq!(answers(&task, Split::Test), ["1", "2"]);
    assert_eq!(answers(&task, Split::Train), ["1", "2"], "the last one validates");
}
