//! Training that survives: the real binary, killed, damaged and starved, ends with the bits it would have had.

#![cfg(unix)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use common::{harness, records, run, small, text};
use peft_core::StateDict;
use rand::RngExt;

const STEPS: u64 = 18;
const EVERY: u64 = 2;

/// What is run: a method, and settings of its own.
#[derive(Clone, Copy)]
struct Case(&'static str, &'static [&'static str]);

impl Case {
    fn args(self, out: &Path, every: u64) -> Vec<String> {
        let Self(method, more) = self;
        let fixed = ["--method", method, "--task", "nlu", "--threads", "1", "--out"];
        let mut args: Vec<String> = fixed.into_iter().map(str::to_owned).collect();
        args.extend([out.display().to_string(), "--max-steps".into(), STEPS.to_string()]);
        args.extend(["--checkpoint-every".into(), every.to_string()]);
        args.extend(small("nlu"));
        args.extend(more.iter().map(|word| (*word).to_owned()));
        args
    }

    fn start(self, out: &Path) -> Child {
        let args = self.args(out, EVERY);
        let mut command = harness(&args.iter().map(String::as_str).collect::<Vec<_>>());
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts")
    }

    fn finish(self, out: &Path, every: u64) -> Output {
        let args = self.args(out, every);
        run(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// What a run leaves that nothing interrupts and that writes no checkpoint.
    fn undisturbed(self) -> Left {
        let folder = tempfile::tempdir().unwrap();
        let output = self.finish(folder.path(), 0);
        assert!(output.status.success(), "{}", text(&output));
        assert!(!folder.path().join("checkpoints").exists());
        self.left(folder.path())
    }

    fn left(self, out: &Path) -> Left {
        let folder = out.join("adapters/nlu").join(self.0).join("seed-0");
        let adapter = peft_core::tensor_file::read(&folder.join("adapter_model.safetensors")).unwrap().0;
        let record = records(out)
            .into_iter()
            .find(|record| record["method"] == self.0 && record["status"]["state"] == "success")
            .expect("a run that succeeded");
        Left { adapter, record }
    }

    fn checkpoints(self, out: &Path) -> PathBuf {
        out.join("checkpoints/nlu").join(self.0).join("seed-0")
    }
}

/// What a run leaves.
struct Left {
    adapter: StateDict,
    record: serde_json::Value,
}

/// The same adapter, losses, validation scores, steps and answers.
fn assert_same(what: &str, one: &Left, other: &Left) {
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
fn steps(folder: &Path) -> Vec<u64> {
    let names = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut steps: Vec<u64> = names.filter_map(|name| name.strip_prefix("step-")?.parse().ok()).collect();
    steps.sort_unstable();
    steps
}

fn send(child: &Child, signal: &str) {
    let sent = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Waits for a checkpoint of `step` or later; false if the run is over before.
fn wait_for(step: u64, folder: &Path, child: &mut Child) -> bool {
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
fn resumed_at(said: &str, method: &str) -> Option<u64> {
    let rest = said.split_once(&format!("nlu · {method}: goes on after step "))?.1;
    rest.split_once(',')?.0.parse().ok()
}

const CASES: [Case; 5] = [
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

/// Ctrl-C, and what schedulers send, lose nothing at all.
#[test]
fn a_run_that_is_asked_to_stop_goes_on_after_its_last_step() {
    let case = CASES[1];
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
        assert_same(signal, &case.undisturbed(), &case.left(folder.path()));
    }
}

/// An output folder with two checkpoints of a run that was killed.
fn cut_off(case: Case) -> (tempfile::TempDir, Vec<u64>) {
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
