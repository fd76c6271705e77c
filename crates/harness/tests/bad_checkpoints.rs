//! Checkpoints that are damaged, foreign, or cannot be written: an error that says so, or the one before is used.

#![cfg(unix)]

mod common;
mod survival;

use std::fs;
use std::path::Path;
use std::process::Output;

use common::{run, text};
use rand::RngExt;
use survival::{CASES, EVERY, assert_same, cut_off, resumed_at, steps};

#[test]
fn a_damaged_checkpoint_gives_way_to_an_older_one() {
    let case = CASES[0];
    let whole = case.undisturbed();
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let place = rand::rng().random_range(0..bytes.len());
        bytes[place] ^= 1 << rand::rng().random_range(0..8);
        fs::write(path, bytes).unwrap();
    };
    let cut = |path: &Path| {
        let length = fs::metadata(path).unwrap().len();
        fs::File::options().write(true).open(path).unwrap().set_len(length / 2).unwrap();
    };
    let damage = |which: &[u64], name: &str, how: &dyn Fn(&Path)| {
        let (folder, steps) = cut_off(case);
        for step in which.iter().map(|index| steps[*index as usize]) {
            how(&case.checkpoints(folder.path()).join(format!("step-{step:08}")).join(name));
        }
        let output = case.finish(folder.path(), EVERY);
        let said = text(&output);
        assert!(output.status.success(), "{said}");
        assert_same(name, &whole, &case.left(folder.path()));
        assert!(said.contains(&format!("step-{:08}", steps[1])), "{said}");
        (said.clone(), resumed_at(&said, "lora"), steps)
    };
    for (name, how) in [("tensors.safetensors", &flip as &dyn Fn(&Path)), ("state.json", &cut)] {
        let (said, resumed, steps) = damage(&[1], name, how);
        assert_eq!(resumed, Some(steps[0]), "{said}");
        assert!(
            said.contains(&format!("the BLAKE3 of `{name}`")) && said.contains("an older one is used"),
            "{said}"
        );
    }
    let (said, resumed, _) = damage(&[0, 1], "tensors.safetensors", &cut);
    assert_eq!(resumed, None, "{said}");
    assert!(said.contains("the run starts from its beginning"), "{said}");
}

#[test]
fn a_checkpoint_of_another_run_is_refused_by_what_differs() {
    let case = CASES[0];
    let (folder, steps) = cut_off(case);
    let mut args = case.args(folder.path(), EVERY);
    args.extend(["--set", "method.optimizer.lr=0.5"].map(str::to_owned));
    let output = run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let said = text(&output);
    assert!(!output.status.success(), "{said}");
    for words in ["is of another run", "lr` was", "is `0.5`", "`--out` of its own"] {
        assert!(said.contains(words), "no `{words}`: {said}");
    }
    assert_eq!(self::steps(&case.checkpoints(folder.path())), steps, "it is as it was");
    // What does not change the result makes no other run of it.
    let mut args = case.args(folder.path(), 7);
    args.extend(["--keep-checkpoints", "5", "--quiet"].map(str::to_owned));
    assert!(run(&args.iter().map(String::as_str).collect::<Vec<_>>()).status.success());
    assert_same("another interval", &case.undisturbed(), &case.left(folder.path()));
}

/// Runs a shell script where it may mount file systems that nobody else sees; `None`, with a message, where it may not.
#[allow(clippy::print_stderr)]
fn with_mounts(script: &str, out: &Path, args: &[String]) -> Option<Output> {
    let may = ["--map-root-user", "--mount", "sh", "-c"];
    let mut probe = std::process::Command::new("unshare");
    let probe = probe.args(may).arg("mount -t tmpfs tmpfs \"$0\"").arg(out).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        eprintln!("skipped: no file system can be mounted here (`unshare --mount`)");
        return None;
    }
    let mut command = std::process::Command::new("unshare");
    command.args(may).arg(script).arg(out).arg(env!("CARGO_BIN_EXE_harness")).args(args);
    Some(command.output().unwrap())
}

/// The disk fills up after the second checkpoint; with room again, the run goes on from it.
#[test]
fn a_full_disk_is_an_error_and_older_checkpoints_stay() {
    let case = CASES[0];
    let folder = tempfile::tempdir().unwrap();
    let args = case.args(folder.path(), EVERY);
    let script = r#"
        out="$0"
        mount -t tmpfs -o size=64m tmpfs "$out" || exit 9
        "$@" & pid=$!
        while [ ! -d "$out"/checkpoints/nlu/lora/seed-0/step-00000004 ]; do sleep 0.01; done
        cat /dev/zero > "$out/ballast" 2> /dev/null
        wait $pid && exit 8
        ls -A "$out/checkpoints/nlu/lora/seed-0" | sed "s/^/left: /" >&2
        rm "$out/ballast"
        "$@" || exit 7
        cp -r "$out" COPY || exit 6
    "#;
    let elsewhere = tempfile::tempdir().unwrap();
    let script = script.replace("COPY", &elsewhere.path().join("copy").display().to_string());
    let Some(output) = with_mounts(&script, folder.path(), &args) else { return };
    let said = text(&output);
    assert!(output.status.success(), "{:?}: {said}", output.status);
    assert!(said.contains("cannot write the checkpoint") && said.contains("No space left"), "{said}");
    assert!(said.contains("older checkpoints are as they were"), "{said}");
    assert!(
        said.contains("left: step-") && !said.contains("left: ."),
        "nothing half-written is left: {said}"
    );
    assert!(resumed_at(&said, "lora") >= Some(4), "{said}");
    assert_same("after a full disk", &case.undisturbed(), &case.left(&elsewhere.path().join("copy")));
}

#[test]
fn a_folder_that_turns_read_only_is_an_error() {
    let case = CASES[0];
    let folder = tempfile::tempdir().unwrap();
    let args = case.args(folder.path(), EVERY);
    let script = r#"
        mkdir "$0/checkpoints"
        mount -t tmpfs -o ro tmpfs "$0/checkpoints" || exit 9
        exec "$@"
    "#;
    let Some(output) = with_mounts(script, folder.path(), &args) else { return };
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in
        ["cannot write the checkpoint", "Read-only file system", "`--checkpoint-every 0` does without"]
    {
        assert!(said.contains(words), "no `{words}`: {said}");
    }
}
