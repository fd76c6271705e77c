//! Runs that are cut off, and what they leave.

#![allow(dead_code, reason = "every test file uses a part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use peft_core::StateDict;

use crate::common::{harness, records, run, small, text};

pub const STEPS: u64 = 18;
pub const EVERY: u64 = 2;

/// What is run: a method, and settings of its own.
#[derive(Clone, Copy)]
pub struct Case(pub &'static str, pub &'static [&'static str]);

impl Case {
    pub fn args(self, out: &Path, every: u64) -> Vec<String> {
        let Self(method, more) = self;
        let fixed = ["--method", method, "--task", "nlu", "--threads", "1", "--out"];
        let mut args: Vec<String> = fixed.into_iter().map(str::to_owned).collect();
        args.extend([out.display().to_string(), "--max-steps".into(), STEPS.to_string()]);
        args.extend(["--checkpoint-every".into(), every.to_string()]);
        args.extend(small("nlu"));
        args.extend(more.iter().map(|word| (*word).to_owned()));
        args
    }

    pub fn start(self, out: &Path) -> Child {
        let args = self.args(out, EVERY);
        let mut command = harness(&args.iter().map(String::as_str).collect::<Vec<_>>());
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts")
    }

    pub fn finish(self, out: &Path, every: u64) -> Output {
        let args = self.args(out, every);
        run(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// What a run leaves that nothing interrupts and that writes no checkpoint.
    pub fn undisturbed(self) -> Left {
        let folder = tempfile::tempdir().unwrap();
        let output = self.finish(folder.path(), 0);
        assert!(output.status.success(), "{}", text(&output));
        assert!(!folder.path().join("checkpoints").exists());
        self.left(folder.path())
    }

    pub fn left(self, out: &Path) -> Left {
        let folder = out.join("adapters/nlu").join(self.0).join("seed-0");
        let adapter = peft_core::tensor_file::read(&folder.join("adapter_model.safetensors")).unwrap().0;
        let record = records(out)
            .into_iter()
            .find(|record| record["method"] == self.0 && record["status"]["state"] == "success")
            .expect("a run that succeeded");
        Left { adapter, record }
    }

    pub fn checkpoints(self, out: &Path) -> PathBuf {
        out.join("checkpoints/nlu").join(self.0).join("seed-0")
    }
}

/// What a run leaves.
pub struct Left {
    pub adapter: StateDict,
    pub record: serde_json::Value,
}

/// The same adapter, losses, validation scores, steps and answers.
pub fn assert_same(what: &str, one: &Left, other: &Left) {
    assert_eq!(one.adapter, other.adapter, "{what}");
    for part in ["curves", "metrics", "adapter_bytes", "parameters"] {
        assert_eq!(one.record[part], other.record[part], "{what}: {part}");
    }
    let work = |left: &Left| {
        let phases = left.record["phases"].as_array().unwrap().clone();
        phases
            .iter()
            .map(|p| (p["name"].clone(), p["steps"].clone(), p["tokens"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(work(one), work(other), "{what}");
}

/// Steps of the checkpoints in `folder`, oldest first.
pub fn steps(folder: &Path) -> Vec<u64> {
    let names = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut steps: Vec<u64> = names.filter_map(|name| name.strip_prefix("step-")?.parse().ok()).collect();
    steps.sort_unstable();
    steps
}

pub fn send(child: &Child, signal: &str) {
    let sent = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Waits for a checkpoint of `step` or later; false if the run is over before.
pub fn wait_for(step: u64, folder: &Path, child: &mut Child) -> bool {
    let begun = Instant::now();
    while steps(folder).last().is_none_or(|last| *last < step) {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(begun.elapsed() < Duration::from_mins(5), "no checkpoint of step {step}");
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// The step that a run says it goes on after.
pub fn resumed_at(said: &str, method: &str) -> Option<u64> {
    let rest = said.split_once(&format!("nlu · {method}: goes on after step "))?.1;
    rest.split_once(',')?.0.parse().ok()
}

pub const CASES: [Case; 5] = [
    Case(
        "lora",
        &[
            "--set",
            "method.dropout=0.1",
            "--set",
            "tasks.nlu.training.eval_every=5",
            "--set",
            "task.training.select=best_validation",
        ],
    ),
    Case("adalora", &["--set", "method.interval=2"]),
    Case("rosa", &["--set", "method.low_rank_steps=5", "--set", "method.collection_steps=8"]),
    Case("lori-s", &["--set", "method.calibration_steps=9"]),
    Case("pissa", &["--quantize", "nf4"]),
];

/// An output folder with two checkpoints of a run that was killed.
pub fn cut_off(case: Case) -> (tempfile::TempDir, Vec<u64>) {
    let folder = tempfile::tempdir().unwrap();
    let mut child = case.start(folder.path());
    assert!(wait_for(3 * EVERY, &case.checkpoints(folder.path()), &mut child));
    child.kill().unwrap();
    child.wait().unwrap();
    // A process that dies while it writes leaves this behind.
    fs::create_dir_all(case.checkpoints(folder.path()).join(".unfinished-abc")).unwrap();
    let mut steps = steps(&case.checkpoints(folder.path()));
    if steps.len() == 3 {
        // It died before it removed the oldest.
        let oldest = format!("step-{:08}", steps.remove(0));
        fs::remove_dir_all(case.checkpoints(folder.path()).join(oldest)).unwrap();
    }
    assert_eq!(steps.len(), 2);
    (folder, steps)
}
