//! Training that survives: the real binary, stopped anywhere, ends with the bits it would have had.

#![cfg(unix)]

mod common;
mod survival;

use std::time::Duration;

use common::{records, text};
use rand::RngExt;
use survival::{CASES, Case, EVERY, STEPS, assert_same, resumed_at, send, steps, wait_for};

/// `kill -9` three times, at steps and moments that chance decides; no more than one interval is done twice.
#[test]
fn a_killed_run_ends_with_the_same_bits() {
    let mut rng = rand::rng();
    for case in CASES {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = case.checkpoints(folder.path());
        let (mut last, mut history) = (None, Vec::new());
        for _ in 0..3 {
            let mut child = case.start(folder.path());
            let from = last.unwrap_or(0);
            let goal = rng.random_range(from + EVERY..=(from + 6).min(STEPS));
            let pause = Duration::from_millis(rng.random_range(0..150));
            let reached = wait_for(goal, &checkpoints, &mut child);
            std::thread::sleep(pause);
            let seen = steps(&checkpoints);
            let _ = child.kill(); // SIGKILL
            let said = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
            history.push(format!(
                "killed {pause:?} after step {goal}, with {seen:?}; it had gone on after {last:?}"
            ));
            assert_eq!(resumed_at(&said, case.0), last, "{}: {history:?}{said}", case.0);
            if !reached || seen.is_empty() {
                break; // it was faster than we
            }
            // Each interval has its checkpoint, so work after the newest is less than one.
            let kept = steps(&checkpoints);
            assert!(
                kept.windows(2).all(|pair| pair[1] - pair[0] == EVERY),
                "{}: {kept:?} {history:?}",
                case.0
            );
            assert!(kept.last() >= seen.last(), "{}: {kept:?} {history:?}", case.0);
            last = kept.last().copied();
            if last == Some(STEPS) {
                break; // only scoring was left
            }
        }
        let output = case.finish(folder.path(), EVERY);
        assert!(output.status.success(), "{}: {history:?}{}", case.0, text(&output));
        assert_same(&format!("{}: {history:?}", case.0), &case.undisturbed(), &case.left(folder.path()));
        assert!(
            !folder.path().join("checkpoints").exists(),
            "{}: checkpoints of a finished run are gone",
            case.0
        );
    }
}

/// Ctrl-C, and what schedulers send, lose nothing at all: neither a step nor, most of the time here, a validation score.
#[test]
fn a_run_that_is_asked_to_stop_goes_on_after_its_last_step() {
    let case = Case(
        "adalora",
        &[
            "--set",
            "method.interval=2",
            "--set",
            "tasks.nlu.training.eval_every=2",
            "--set",
            "tasks.nlu.data.builtin.nlu.items.validation=100",
        ],
    );
    let whole = case.undisturbed();
    for signal in ["-INT", "-TERM"] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = case.start(folder.path());
        assert!(wait_for(4, &case.checkpoints(folder.path()), &mut child));
        send(&child, signal);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", text(&output));
        assert!(text(&output).contains("the same command goes on"), "{}", text(&output));
        let stopped =
            records(folder.path()).into_iter().find(|record| record["method"] == "adalora").unwrap();
        let done = stopped["curves"]["loss"].as_array().unwrap().len() as u64;
        assert_eq!(steps(&case.checkpoints(folder.path())).last(), Some(&done), "{signal}");

        let output = case.finish(folder.path(), EVERY);
        assert_eq!(resumed_at(&text(&output), "adalora"), Some(done), "{}", text(&output));
        assert_same(signal, &whole, &case.left(folder.path()));
    }
}
