//! The binary, run as a user runs it, on tasks made small.

#![allow(dead_code, reason = "every test file uses a part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// Settings that make a task of the built-in suite a matter of a second.
pub fn small(task: &str) -> Vec<String> {
    let item = |split: &str, n: usize| format!("tasks.{task}.data.builtin.{task}.items.{split}={n}");
    [item("test", 40), item("validation", 20), format!("tasks.{task}.training.eval_every=0")]
        .into_iter()
        .flat_map(|setting| ["--set".to_owned(), setting])
        .collect()
}

/// The command, where a run without `--out` may leave its folder.
pub fn harness(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    command.args(args).current_dir(env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Runs it to its end.
pub fn run(args: &[&str]) -> Output {
    harness(args).output().expect("the binary starts")
}

/// Trains `method` on nlu for three steps and returns the output folder.
pub fn train(method: &str, more: &[&str]) -> TempDir {
    train_on("nlu", method, more)
}

/// Trains `method` on `task` for three steps with one thread, so that bits are those of any machine.
pub fn train_on(task: &str, method: &str, more: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().to_str().expect("unicode").to_owned();
    let small = small(task);
    let mut args = vec!["--method", method, "--task", task, "--max-steps", "3", "--threads", "1", "--quiet"];
    args.extend(["--out", &out]);
    args.extend(small.iter().map(String::as_str));
    args.extend(more);
    let output = run(&args);
    assert!(output.status.success(), "{}", text(&output));
    folder
}

/// Where a run on nlu leaves the adapter of `method` with seed 0.
pub fn adapter(folder: &Path, method: &str) -> PathBuf {
    adapter_on("nlu", folder, method)
}

/// Where a run leaves the adapter of `method` with seed 0.
pub fn adapter_on(task: &str, folder: &Path, method: &str) -> PathBuf {
    folder.join("adapters").join(task).join(method).join("seed-0")
}

/// All records below a folder.
pub fn records(folder: &Path) -> Vec<serde_json::Value> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(records(&path));
        } else if path.extension().is_some_and(|extension| extension == "json") {
            let bytes = std::fs::read(&path).expect("a readable file");
            let value: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
            found.extend(value.get("status").is_some().then_some(value));
        }
    }
    found
}

/// Both streams as text.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs what must fail, and checks that it says `all` of this.
pub fn refused(args: &[&str], all: &[&str]) {
    let output = run(args);
    let said = text(&output);
    assert!(!output.status.success(), "{args:?} succeeded: {said}");
    for words in all {
        assert!(said.contains(words), "{args:?} does not say `{words}`: {said}");
    }
}
