//! Finished cells are found again, and only they.

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{adapter, harness, records, run, small, text, train};

/// The arguments of [`train`] for a folder that is there already.
fn again(folder: &Path, method: &str, more: &[&str]) -> std::process::Output {
    let out = folder.to_str().unwrap();
    let small = small("nlu");
    let mut args =
        vec!["--method", method, "--task", "nlu", "--max-steps", "3", "--threads", "1", "--out", out];
    args.extend(small.iter().map(String::as_str));
    args.extend(more);
    let output = run(&args);
    assert!(output.status.success(), "{}", text(&output));
    output
}

#[test]
fn a_finished_cell_is_not_repeated() {
    let folder = train("lori-s", &[]);
    let before = records(folder.path());
    let file = adapter(folder.path(), "lori-s").join("adapter_model.safetensors");
    let written = std::fs::metadata(&file).unwrap().modified().unwrap();

    let output = again(folder.path(), "lori-s", &[]);
    assert_eq!(records(folder.path()), before);
    assert_eq!(std::fs::metadata(&file).unwrap().modified().unwrap(), written);
    let said = text(&output);
    for cell in ["nlu · base", "nlu · lori-d", "nlu · lori-s"] {
        assert!(said.contains(&format!("{cell} · seed 0: there already")), "{said}");
    }
    assert!(String::from_utf8_lossy(&output.stdout).contains("lori-s"), "the table is printed all the same");

    // LoRI-S goes on from LoRI-D: another setting of either is another cell of both, but not of the base.
    again(folder.path(), "lori-s", &["--set", "methods.lori-d.optimizer.lr=0.02"]);
    assert_eq!(records(folder.path()).len(), before.len() + 2);
    again(folder.path(), "lori-s", &["--again"]);
    assert_eq!(records(folder.path()).len(), before.len() + 2 + before.len());
}

#[test]
fn a_damaged_cell_runs_again() {
    let folder = train("lora", &[]);
    let before = records(folder.path()).len();
    for cell in std::fs::read_dir(folder.path().join("cells")).unwrap() {
        let path = cell.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    }
    let output = again(folder.path(), "lora", &[]);
    assert!(text(&output).contains("the cell runs again"), "{}", text(&output));
    assert_eq!(records(folder.path()).len(), 2 * before);
}

/// Killed wherever it may be, a run that is started again repeats no cell that was finished.
#[test]
fn a_killed_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let small = small("nlu");
    let mut args = vec!["--method", "lora,lori,dora", "--task", "nlu", "--max-steps", "3", "--threads", "1"];
    args.extend(["--out", out, "--quiet"]);
    args.extend(small.iter().map(String::as_str));
    let cells = || std::fs::read_dir(folder.path().join("cells")).map_or(0, Iterator::count);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(300) {
        let finished = cells();
        let mut child = harness(&args).stdout(std::process::Stdio::null()).spawn().unwrap();
        while cells() <= finished && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let ended = child.try_wait().unwrap();
        // Whatever the next cell is doing by now.
        std::thread::sleep(Duration::from_millis(50 * finished as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(cells() > finished || ended.is_some(), "a start finishes a cell");
        if ended.is_some() {
            break;
        }
    }
    // The base and four methods, each once.
    assert_eq!(cells(), 5);
    let mut methods: Vec<_> =
        records(folder.path()).iter().map(|record| record["method"].to_string()).collect();
    let all = methods.len();
    methods.sort();
    methods.dedup();
    assert_eq!((methods.len(), all), (5, 5));
}
