//! Every table of a paper plans at its size, and runs on the built-in suite, made small.

mod common;

use common::{run, text};

const TASKS: [&str; 4] = ["nlu", "math", "code", "safety"];

/// Settings that make the suite a matter of seconds.
fn tiny() -> Vec<String> {
    let of_task = |task: &str| {
        let items = |split: &str| format!("tasks.{task}.data.builtin.{task}.items.{split}=8");
        [items("test"), items("validation"), format!("tasks.{task}.training.eval_every=0")]
    };
    // The first step of a warm-up moves nothing, and a tenth of these runs is one step.
    let warmup = "task.training.warmup=0".to_owned();
    let settings = TASKS.iter().flat_map(|task| of_task(task)).chain([warmup]);
    settings.flat_map(|setting| ["--set".to_owned(), setting]).collect()
}

#[test]
fn every_table_plans_at_its_size() {
    for name in tables::provided_names() {
        let output = run(&["table", &name, "--plan"]);
        assert!(output.status.success(), "{name}: {}", text(&output));
    }
    let listed = text(&run(&["table"]));
    assert!(tables::provided_names().iter().all(|name| listed.contains(name.as_str())), "{listed}");
}

/// Fewer leave AdaLoRA's budget no step between its marks.
const STEPS: &str = "10";

/// In one folder, so that what tables have in common runs once.
#[test]
fn every_table_runs_on_the_built_in_suite() {
    let folder = tempfile::tempdir().unwrap();
    let (out, tiny) = (folder.path().to_str().unwrap(), tiny());
    for name in tables::provided_names() {
        let mut args = vec!["table", &name, "--scale", "mini", "--max-steps", STEPS, "--seeds", "1"];
        args.extend(["--threads", "1", "--quiet", "--checkpoint-every", "0", "--out", out]);
        args.extend(tiny.iter().map(String::as_str));
        let output = run(&args);
        assert!(output.status.success(), "{name}: {}", text(&output));
        let written = std::fs::read_to_string(folder.path().join(format!("{name}.md"))).unwrap();
        assert!(written.contains("arXiv"), "{written}");
    }
}

/// A row that fails is named at the end, after the others were run and the table was printed.
#[test]
fn a_row_that_fails_fails_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let tiny = tiny();
    // Two steps leave AdaLoRA's budget no room, and are enough for its neighbours.
    let mut args = vec!["table", "adalora-1", "--scale", "mini", "--max-steps", "2", "--seeds", "1"];
    args.extend(["--threads", "1", "--checkpoint-every", "0", "--out", out]);
    args.extend(tiny.iter().map(String::as_str));
    let output = run(&args);
    assert!(!output.status.success(), "{}", text(&output));
    let failed =
        String::from_utf8_lossy(&output.stderr).lines().rev().take(20).collect::<Vec<_>>().join("\n");
    assert!(failed.contains("adalora-1 · AdaLoRA"), "{failed}");
    let written = std::fs::read_to_string(folder.path().join("adalora-1.md")).unwrap();
    assert!(written.contains("LoRA") && written.contains("not run"), "{written}");
}

#[test]
fn two_tables_differ_in_settings() {
    let output = text(&run(&["table", "diff", "dora-1", "milora-1"]));
    assert!(output.contains("learning_rate") || output.contains("lr"), "{output}");
    let output = text(&run(&["table", "dora1"]));
    assert!(output.contains("did you mean") && output.contains("dora-1"), "{output}");
}

#[test]
fn scenarios_merge_and_vary() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = tiny();
    let start = |name: &str, more: &[&str]| {
        let out = folder.path().join(name);
        let mut args = vec!["--scenario", name, "--seeds", "2", "--max-steps", "2", "--threads", "1"];
        args.extend(["--checkpoint-every", "0", "--out", out.to_str().unwrap()]);
        args.extend(tiny.iter().map(String::as_str));
        args.extend(more);
        let output = run(&args);
        assert!(output.status.success(), "{name}: {}", text(&output));
        let summary: serde_json::Value =
            serde_json::from_slice(&std::fs::read(out.join("summary.json")).unwrap()).unwrap();
        (text(&output), summary, out)
    };
    let (_, summary, _) = start("merge-pair", &["--method", "lora"]);
    let rows = summary["rows"].as_array().unwrap();
    let of = |method: &str, variant: &str| {
        let row = rows.iter().find(|row| row["method"] == method && row["variant"] == variant).unwrap();
        assert_eq!((&row["scenario"], &row["stage"]), (&"merge-pair".into(), &"nlu+safety".into()));
        assert_eq!(row["seeds"], 2);
    };
    for (method, variant) in [("lora", ""), ("lora", "cat"), ("lora", "ties"), ("lora", "scaled")] {
        of(method, variant);
    }
    // Again: everything is there.
    let (said, again, _) = start("merge-pair", &["--method", "lora"]);
    assert!(!said.contains("loss"), "{said}");
    assert_eq!(again, summary);

    let (_, summary, out) = start("lori-sparsity", &["--task", "nlu"]);
    let rows = summary["rows"].as_array().unwrap();
    assert_eq!(
        rows.iter().filter(|row| row["method"].as_str().unwrap().starts_with("lori-s")).count(),
        6,
        "{rows:?}"
    );
    assert!(out.join("lori-sparsity.svg").exists());
}
