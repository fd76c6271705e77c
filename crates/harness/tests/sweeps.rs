//! Grids of settings: each cell once, whoever runs it and however often it is cut off.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use common::{harness, records, refused, run, small, text};
use serde_json::Value;

/// Two ranks, and two densities that share the LoRI-D run of their rank.
const GRID: &str = r#"
name = "ranks"
description = "Small cells"
methods = ["lora", "lori-s"]
tasks = ["nlu"]
seeds = 2
[settings.task]
training.steps = 3
[grid]
"method.rank" = [2, 4]
"methods.lori-s.sparsity" = [0.5, 0.9]
"#;
/// The base; for each seed and rank LoRA, LoRI-D and two of LoRI-S.
const CELLS: usize = 1 + 2 * 2 * 4;

struct Sweep {
    folder: tempfile::TempDir,
}

impl Sweep {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("grid.toml"), text).unwrap();
        Self { folder }
    }

    fn out(&self) -> std::path::PathBuf {
        self.folder.path().join("out")
    }

    fn args(&self, more: &[&str]) -> Vec<String> {
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let mut args = vec!["sweep".to_owned(), path(&self.folder.path().join("grid.toml"))];
        args.extend(["--threads", "1", "--out", &path(&self.out())].map(str::to_owned));
        args.extend(small("nlu"));
        args.extend(more.iter().map(|&word| word.to_owned()));
        args
    }

    fn command(&self, more: &[&str]) -> std::process::Command {
        harness(&self.args(more).iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn run(&self, more: &[&str]) -> Output {
        self.command(more).output().unwrap()
    }

    fn finished(&self, more: &[&str]) -> Output {
        let output = self.run(more);
        assert!(output.status.success(), "{}", text(&output));
        output
    }

    /// What tells cells apart, for every record.
    fn recorded(&self) -> Vec<String> {
        let of = |record: &Value| {
            format!("{} {} {}", record["method"], record["seed"], record["config"]["method"])
        };
        let mut cells: Vec<String> = records(&self.out()).iter().map(of).collect();
        cells.sort();
        cells
    }

    /// The cells that a plan lists.
    fn planned(&self, more: &[&str]) -> Vec<String> {
        let all: Vec<&str> = ["--plan"].iter().chain(more).copied().collect();
        let output = String::from_utf8(self.finished(&all).stdout).unwrap();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        output.lines().filter(|line| line.starts_with("nlu")).map(words).collect()
    }
}

fn distinct(cells: &[String]) -> usize {
    cells.iter().collect::<BTreeSet<_>>().len()
}

/// Scores by method, as `summary.json` has them.
fn scores(out: &Path) -> BTreeMap<String, Value> {
    let summary: Value = serde_json::from_slice(&std::fs::read(out.join("summary.json")).unwrap()).unwrap();
    let rows = summary["rows"].as_array().unwrap();
    rows.iter()
        .map(|row| {
            assert_eq!(row["scenario"], "ranks");
            (format!("{} {} {}", row["task"], row["method"], row["variant"]), row["value"].clone())
        })
        .collect()
}

#[test]
fn shards_at_the_same_time_do_each_cell_once() {
    let (sharded, alone) = (Sweep::new(GRID), Sweep::new(GRID));
    let planned = alone.planned(&[]);
    assert_eq!((planned.len(), distinct(&planned)), (CELLS, CELLS), "{planned:#?}");
    for count in 1..=6 {
        let shards: Vec<Vec<String>> =
            (1..=count).map(|i| alone.planned(&["--shard", &format!("{i}/{count}")])).collect();
        let mut all: Vec<String> = shards.concat();
        all.sort();
        let mut whole = planned.clone();
        whole.sort();
        assert_eq!(all, whole, "{count} shards");
        // Four groups of LoRI (three cells each) and four cells of LoRA: none of two to four shards has more than its share
        // and a group.
        let most = shards.iter().map(Vec::len).max().unwrap();
        assert!(most <= (CELLS - 1).div_ceil(count) + 2, "{count}: {shards:#?}");
        // What LoRI-S starts from is in its shard.
        for shard in &shards {
            for cell in shard.iter().filter(|cell| cell.starts_with("nlu lori-s")) {
                let words: Vec<&str> = cell.split(' ').collect();
                let needed = format!("nlu lori-d {} {} ", words[2], words[3]);
                assert!(shard.iter().any(|other| other.starts_with(&needed)), "{cell}: {shard:#?}");
            }
        }
    }

    let start = |shard: &str| {
        let mut command = sharded.command(&["--shard", shard]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let shards = [start("1/2"), start("2/2")];
    for shard in shards {
        let output = shard.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
    }
    let cells = sharded.recorded();
    assert_eq!((cells.len(), distinct(&cells)), (CELLS, CELLS), "{cells:#?}");
    assert!(!sharded.out().join("summary.json").exists(), "a part is no summary");
    assert!(sharded.planned(&[]).iter().all(|cell| cell.ends_with("finished")));

    // The whole finds everything, and is what one process makes.
    sharded.finished(&[]);
    assert_eq!(sharded.recorded(), cells);
    alone.finished(&[]);
    assert_eq!(scores(&sharded.out()), scores(&alone.out()));
    assert_eq!(scores(&alone.out()).len(), 1 + 2 + 2 + 4, "the seeds are pooled");
    // Adapters of different settings lie apart.
    let leaves = std::fs::read_dir(sharded.out().join("adapters/nlu/lori-s")).unwrap().count();
    assert_eq!(leaves, 8);
}

/// Killed wherever it may be, a sweep that is started again repeats no cell that was finished.
#[test]
fn a_killed_sweep_goes_on() {
    let sweep = Sweep::new(GRID);
    // A kill may leave a temporary file beside them.
    let is_cell = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.path().extension().is_some_and(|extension| extension == "safetensors"))
    };
    let cells = || {
        let entries = std::fs::read_dir(sweep.out().join("cells")).into_iter().flatten();
        entries.filter_map(|entry| is_cell(entry).then_some(())).count()
    };
    let (begun, mut kills) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_mins(10) {
        let finished = cells();
        let mut child = sweep
            .command(&["--checkpoint-every", "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while cells() < finished + 3 && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(40 * kills));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills >= 2, "it was killed in the middle");
    let output = sweep.finished(&[]);
    let found = String::from_utf8_lossy(&output.stderr).matches("there already").count();
    assert_eq!(cells(), CELLS);
    assert!(found >= CELLS, "{}", text(&output));
    // A process that dies between a record and the mark that its cell is finished leaves a record that nothing refers to.
    let recorded = sweep.recorded();
    assert_eq!(distinct(&recorded), CELLS);
    assert!(recorded.len() as u64 <= CELLS as u64 + kills, "{recorded:#?}");
}

#[test]
fn a_failing_cell_stops_no_other() {
    let sweep = Sweep::new(
        r#"
name = "ranks"
description = "One rate is beyond all numbers"
methods = ["lora", "lori-s"]
tasks = ["nlu"]
[settings.task]
training.steps = 3
[grid]
"method.optimizer.lr" = [1e30, 1e-2]
"#,
    );
    let output = sweep.run(&[]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    let listed = said.split_once("error:").expect("an error").1;
    for cell in [
        "nlu · lora · seed 0 · lr = 1e30: the loss is NaN",
        "nlu · lori-d · seed 0 · lr = 1e30: the loss is NaN",
    ] {
        assert!(listed.contains(cell), "{said}");
    }
    let dependent = "nlu · lori-s · seed 0 · lr = 1e30: the lori-d run that it starts from failed";
    assert!(listed.contains(dependent), "{said}");
    let succeeded = |record: &&Value| record["status"]["state"] == "success";
    assert_eq!(records(&sweep.out()).iter().filter(succeeded).count(), 4, "{said}");
    assert_eq!(scores(&sweep.out()).len(), 4);
    let planned = sweep.planned(&[]);
    assert_eq!(planned.iter().filter(|cell| cell.ends_with("to do")).count(), 3, "{planned:#?}");
}

#[test]
fn mistakes_show_before_anything_runs() {
    let cases = [
        ("\"method.rnk\" = [2, 4]", vec!["grid.toml line 9", "rnk", "did you mean `rank`"]),
        ("\"task.training.stps\" = [2, 4]", vec!["grid.toml line 9", "stps", "steps"]),
        ("\"methods.dora.rank\" = [2, 4]", vec!["grid.toml line 9: `methods.dora.rank` changes nothing"]),
        (
            "\"method.rank\" = [2, 4]\n[gird]",
            vec!["grid.toml line 10: unknown field `gird`", "did you mean `grid`"],
        ),
    ];
    let head = "name = 'x'\ndescription = ''\nmethods = ['lora']\ntasks = ['nlu']\n[settings.task]\ntraining.steps = 2\n\n[grid]\n";
    for (grid, words) in cases {
        let sweep = Sweep::new(&format!("{head}{grid}\n"));
        let args = sweep.args(&[]);
        refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), &words);
        assert!(!sweep.out().exists(), "nothing is made");
    }
    // A flag that decides what the grid varies makes all its points one.
    let sweep = Sweep::new(&format!("{head}'method.rank' = [2, 4]"));
    let args = sweep.args(&["--set", "method.rank=8"]);
    refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), &["`method.rank` changes nothing"]);
    refused(&["sweep", "rank-scalng"], &["unknown sweep `rank-scalng`", "rank-scaling"]);
    refused(&["sweep", "rank-scaling", "--shard", "0/4"], &["shards are counted from 1"]);
    refused(&["sweep", "rank-scaling", "--shard", "5/4"], &["`1/4` to `4/4`"]);
}

/// What the README shows is what the program prints, and a shell can read it.
#[test]
fn the_readme_shows_what_runs_the_shards() {
    let readme = include_str!("../../../README.md");
    for how in ["slurm", "parallel"] {
        let output = run(&["sweep", "rank-scaling", "--emit", how]);
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(readme.contains(printed.trim_end()), "not in README.md:\n{printed}");
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script.sh");
        std::fs::write(&script, &printed).unwrap();
        let checked = std::process::Command::new("bash").arg("-n").arg(&script).output().unwrap();
        assert!(checked.status.success(), "{}", text(&checked));
    }
    let output =
        run(&["sweep", "rank-scaling", "--set", "method.dropout=0.1", "--emit=parallel", "--shards=2"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("rank-scaling --set 'method.dropout=0.1' --out runs/rank-scaling"), "{printed}");
    assert!(printed.trim_end().ends_with("--shard {}/2 ::: 1 2"), "{printed}");
}
