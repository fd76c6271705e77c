//! Data sets of the hub, from a hub of this test's own.

mod common;
mod hub_server;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::{records, text};
use hub_server::{Asked, Content, Hub, etag, harness};
use tempfile::TempDir;

const FIRST: &str = "0123456789abcdef0123456789abcdef01234567";
const SECOND: &str = "89abcdef0123456789abcdef0123456789abcdef";
const TRAIN: &str = "data/train.jsonl";
const TEST: &str = "data/test.jsonl";

/// Items whose answers are `answer`, in the words of the built-in model.
fn items(answer: &str, count: usize) -> Vec<u8> {
    let line = |n: usize| format!("{{\"q\": \"the question number {n}\", \"a\": \"{answer}\"}}\n");
    (0..count).map(line).collect::<String>().into_bytes()
}

fn files(answer: &str) -> BTreeMap<String, Vec<u8>> {
    let named = |name: &str, count| (name.to_owned(), items(answer, count));
    BTreeMap::from([named(TRAIN, 40), named(TEST, 5), ("README.md".to_owned(), b"#".to_vec())])
}

/// A hub, a cache, and a task whose data are there.
struct Stand {
    hub: Hub,
    home: TempDir,
    task: PathBuf,
}

impl Stand {
    /// `revision` is a line of the task's file, or nothing.
    fn new(revision: &str) -> Self {
        let content = Content {
            repo: "datasets/tester/capitals".to_owned(),
            commit: FIRST.to_owned(),
            files: files("the deer"),
            refuses: None,
            damages: 0,
        };
        let home = tempfile::tempdir().unwrap();
        let task = home.path().join("capitals.toml");
        let nlu = fs::read_to_string(configs("tasks/nlu.toml")).unwrap();
        let rest = &nlu[nlu.find("[training]").unwrap()..nlu.find("[scoring]").unwrap()];
        let data = format!(
            r#"
name = "capitals"
description = "Questions with answers"
[data.files]
format = "jsonl"
fields = {{ question = "q", answer = "a" }}
[data.files.splits]
train = {{ file = "{TRAIN}" }}
validation = {{ hashed_of_train = 4 }}
test = {{ file = "{TEST}" }}
[data.files.hub]
repo = "tester/capitals"
{revision}
[prompt]
template = "{{question}}"
response = " {{answer}}"
loss = "response"
bos = "prepend"
eos = "append"
{rest}
[scoring]
metrics = [{{ name = "accuracy", version = 1 }}]
engine = {{ option = {{ answer = "answer" }} }}
"#
        );
        fs::write(&task, data).unwrap();
        Self { hub: Hub::start(content), home, task }
    }

    /// A run of three steps; the folder it leaves.
    fn run(&self, more: &[&str], environment: &[(&str, &str)]) -> (Output, TempDir) {
        let out = tempfile::tempdir().unwrap();
        let (task, folder) = (self.task.to_str().unwrap(), out.path().to_str().unwrap().to_owned());
        let mut args =
            vec!["--method", "lora", "--task", task, "--max-steps", "2", "--threads", "1", "--quiet"];
        args.extend(["--set", "task.training.eval_every=0", "--out", folder.as_str()]);
        args.extend(more);
        let address = self.hub.address();
        let all: Vec<_> =
            [("HF_ENDPOINT", address.as_str())].into_iter().chain(environment.to_vec()).collect();
        (harness(&args, self.home.path(), &all), out)
    }

    fn fine(&self, more: &[&str], environment: &[(&str, &str)]) -> serde_json::Value {
        let (output, out) = self.run(more, environment);
        assert!(output.status.success(), "{}", text(&output));
        records(out.path()).into_iter().find(|record| record["method"] == "lora").unwrap()
    }

    fn refused(&self, more: &[&str], environment: &[(&str, &str)], all: &[&str]) {
        let (output, _) = self.run(more, environment);
        let said = text(&output);
        assert!(!output.status.success(), "{said}");
        for words in all {
            assert!(said.contains(words), "it does not say `{words}`: {said}");
        }
    }
}

fn configs(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs").join(path)
}

/// The files of a record: repository and hash.
fn read(record: &serde_json::Value) -> Vec<(String, String)> {
    let files = record["files"].as_array().unwrap().iter();
    files
        .map(|file| (file["repo"].as_str().unwrap().to_owned(), file["sha256"].as_str().unwrap().to_owned()))
        .collect()
}

fn expected(commit: &str, answer: &str) -> Vec<(String, String)> {
    let files = files(answer);
    [TRAIN, TEST].map(|name| (format!("tester/capitals@{commit}"), etag(&files[name]))).into()
}

fn bodies(asked: &[Asked]) -> Vec<&str> {
    asked
        .iter()
        .filter(|(path, range, _)| !path.starts_with("/api") && range != "bytes=0-0")
        .map(|a| a.0.as_str())
        .collect()
}

#[test]
fn data_are_fetched_once_and_the_record_says_which() {
    let stand = Stand::new("");
    let record = stand.fine(&[], &[("HF_TOKEN", "secret")]);
    assert_eq!(read(&record), expected(FIRST, "the deer"));
    let hub = &record["config"]["task"]["data"]["files"]["hub"];
    assert_eq!((&hub["repo"], &hub["revision"]), (&"tester/capitals".into(), &"main".into()));
    let asked = stand.hub.asked();
    assert_eq!(bodies(&asked).len(), 2, "what the task does not read is not fetched: {asked:?}");
    assert!(asked.iter().all(|(.., token)| token == "Bearer secret"), "{asked:?}");

    assert_eq!(read(&stand.fine(&[], &[])), expected(FIRST, "the deer"));
    let asked = stand.hub.asked();
    assert!(asked.iter().all(|(path, ..)| path.starts_with("/api/")), "nothing is fetched twice: {asked:?}");

    let offline = stand.fine(&[], &[("HF_HUB_OFFLINE", "1")]);
    assert_eq!((read(&offline), stand.hub.asked().len()), (expected(FIRST, "the deer"), 0));
}

#[test]
fn a_branch_that_moved_gives_files_of_one_commit() {
    let stand = Stand::new("");
    stand.fine(&[], &[]);
    stand.hub.change(|content| {
        SECOND.clone_into(&mut content.commit);
        content.files = files("the fox");
    });
    assert_eq!(read(&stand.fine(&[], &[])), expected(SECOND, "the fox"));
    // What the task's file pins stays as it was, and nobody is asked.
    stand.hub.asked();
    let pinned = fs::read_to_string(&stand.task).unwrap();
    let line = format!("repo = \"tester/capitals\"\nrevision = \"{FIRST}\"");
    fs::write(&stand.task, pinned.replace("repo = \"tester/capitals\"", &line)).unwrap();
    assert_eq!(read(&stand.fine(&[], &[])), expected(FIRST, "the deer"));
    assert_eq!(stand.hub.asked(), []);
}

#[test]
fn a_repository_can_take_the_place_of_a_folder_and_a_folder_that_of_a_repository() {
    let stand = Stand::new("revision = \"gone\"");
    let record = stand.fine(&["--data", &format!("hf:tester/capitals@{FIRST}")], &[]);
    assert_eq!(read(&record), expected(FIRST, "the deer"));
    stand.hub.asked();

    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files("the fox") {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let record = stand.fine(&["--data", folder.path().to_str().unwrap()], &[]);
    assert_eq!(record["files"][1]["sha256"], etag(&files("the fox")[TEST]));
    assert!(record["files"][1]["repo"].is_null() && stand.hub.asked().is_empty());
}

#[test]
fn what_arrives_broken_is_fetched_again() {
    let stand = Stand::new("");
    let bytes = &files("the deer")[TRAIN];
    let blobs = stand.home.path().join("hub/datasets--tester--capitals/blobs");
    fs::create_dir_all(&blobs).unwrap();
    let part = blobs.join(etag(bytes)).with_extension("part");
    // A download that stopped half way goes on …
    fs::write(&part, &bytes[..100]).unwrap();
    assert_eq!(read(&stand.fine(&[], &[])), expected(FIRST, "the deer"));
    let asked = stand.hub.asked();
    assert!(asked.iter().any(|(path, range, _)| path.ends_with(TRAIN) && range == "bytes=100-"), "{asked:?}");

    // … and one whose beginning is not of this file begins again.
    fs::remove_dir_all(stand.home.path().join("hub")).unwrap();
    fs::create_dir_all(&blobs).unwrap();
    fs::write(&part, vec![b'?'; 100]).unwrap();
    assert_eq!(read(&stand.fine(&[], &[])), expected(FIRST, "the deer"));

    fs::remove_dir_all(stand.home.path().join("hub")).unwrap();
    stand.hub.change(|content| content.damages = 1);
    assert_eq!(read(&stand.fine(&[], &[])), expected(FIRST, "the deer"));

    fs::remove_dir_all(stand.home.path().join("hub")).unwrap();
    stand.hub.change(|content| content.damages = usize::MAX);
    stand.refused(
        &[],
        &[],
        &["hf:tester/capitals", "`data/train.jsonl` arrives with another hash", "hint: "],
    );
    assert_eq!(
        fs::read_dir(&blobs)
            .unwrap()
            .filter(|e| !e.as_ref().unwrap().path().ends_with("lock"))
            .filter(|e| e.as_ref().unwrap().path().extension().is_none())
            .count(),
        0
    );
}

#[test]
fn what_cannot_be_had_is_named_with_what_to_do() {
    let stand = Stand::new("");
    let nowhere = [("HF_ENDPOINT", "http://127.0.0.1:9")];
    stand.refused(
        &[],
        &nowhere,
        &["cannot fetch `hf:tester/capitals`", "without a network, name the folder", "--data DIR"],
    );
    let offline = [("HF_HUB_OFFLINE", "1")];
    stand.refused(
        &[],
        &offline,
        &["HF_HUB_OFFLINE is set", "lacks `data/train.jsonl`, `data/test.jsonl`", "unset HF_HUB_OFFLINE"],
    );
    stand.refused(
        &["--data", "hf:tester/other"],
        &[],
        &["`hf:tester/other`", "no such data set or revision"],
    );
    stand.refused(
        &["--data", "hf:tester/capitals@v9"],
        &[],
        &["`hf:tester/capitals@v9`", "no such data set or revision"],
    );
    stand.refused(&["--data", "hf:tester capitals"], &[], &["expected `hf:OWNER/NAME`"]);
    stand.hub.change(|content| drop(content.files.remove(TEST)));
    stand.refused(&[], &[], &["it holds no file `data/test.jsonl`", "did you mean `data/train.jsonl`?"]);
    for status in [401, 403] {
        stand.hub.change(|content| content.refuses = Some(status));
        stand.refused(&[], &[], &["gated or private data set", "HF_TOKEN"]);
    }
    // Where the cache has it, a network that fails says so.
    stand.hub.change(|content| (content.files, content.refuses) = (files("the deer"), None));
    stand.fine(&[], &[]);
    stand.refused(&[], &nowhere, &["HF_HUB_OFFLINE=1 takes it without asking"]);
}
