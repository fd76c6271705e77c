//! Reports: what stands on the page and in its files, and what any set of runs becomes. Runs are made up, see `sample`.

mod sample;

use std::path::Path;
use std::process::Command;

use compare::plot::Plot;
use compare::report::Report;
use compare::stats::Settings;
use compare::{
    Aggregate, Better, DataFile, Evidence, MetricValue, Run, Scale, Selection, Sequence, Status, Store,
    collect, distinct, latest,
};
use sample::{run, suite, with_outcomes};

fn selection(runs: Vec<Run>) -> Selection {
    latest(distinct(runs))
}

fn report(selection: &Selection) -> Report<'_> {
    Report::new(selection, &Settings::default()).unwrap()
}

/// The suite with three seeds, a curve worth drawing, and a configuration like the loop's.
fn full() -> Vec<Run> {
    let mut runs = suite(3);
    for run in runs.iter_mut().filter(|run| !run.record.is_base()) {
        let record = &mut run.record;
        record.config = serde_json::json!({
            "suite": "mini",
            "task": {"name": record.task, "training": {"steps": 300, "clip": null}},
            "method": {"name": record.method, "settings": {"rank": 8, "optimizer": {"lr": 0.004}}},
        });
        record.curves.loss = (1..=300)
            .map(|step| compare::Point::new(step, 3.0 / step as f64 + 0.1 * f64::from(step as u8 % 3)))
            .collect();
        record.curves.learning_rate = (1..=300).map(|step| compare::Point::new(step, 0.004)).collect();
    }
    for run in runs.iter_mut().filter(|run| run.record.is_base()) {
        let task = serde_json::json!({"name": run.record.task, "training": {"steps": 300, "clip": null}});
        run.record.config = serde_json::json!({ "suite": "mini", "task": task });
    }
    runs
}

#[test]
fn all_files_are_written_and_are_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let selection = selection(full());
    let paths = report(&selection).write(folder.path()).unwrap();
    let names: Vec<String> =
        paths.iter().map(|path| path.strip_prefix(folder.path()).unwrap().display().to_string()).collect();
    for name in [
        "report.html",
        "results.md",
        "results.tex",
        "results.csv",
        "tests.md",
        "tests.tex",
        "tests.csv",
        "plots/overview.svg",
        "plots/pareto-nlu-training-time.svg",
        "plots/pareto-nlu-training-time.png",
        "plots/loss-math.png",
        "plots/learning-rate-nlu.svg",
        "plots/validation-nlu.png",
    ] {
        assert!(names.iter().any(|n| n == name), "{name} is not among {names:?}");
    }
    for path in paths {
        let bytes = std::fs::read(&path).unwrap();
        match path.extension().unwrap().to_str().unwrap() {
            "png" => {
                let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
                let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
                reader.next_frame(&mut pixels).unwrap();
                // Something was drawn on the white.
                assert!(pixels.iter().filter(|&&value| value < 128).count() > 500, "{}", path.display());
            }
            "svg" => {
                let text = String::from_utf8(bytes).unwrap();
                assert!(
                    text.starts_with("<svg") && text.trim_end().ends_with("</svg>"),
                    "{}",
                    path.display()
                );
                assert!(!text.contains("NaN") && !text.contains("inf"), "{}", path.display());
            }
            _ => assert!(bytes.len() > 100),
        }
    }
    // A second time replaces the first.
    report(&selection).write(folder.path()).unwrap();
}

#[test]
fn the_page_needs_nothing_else() {
    let selection = selection(full());
    let page = report(&selection).html();
    for outside in ["<script src", "@import", "url(", "<img", "<iframe"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let links = page.matches("http").count();
    let names =
        page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count() + page.matches("http-equiv").count();
    assert_eq!(links, names, "the only addresses are names of a format");
    assert_eq!(page, report(&selection).html(), "the same runs give the same page");
}

#[test]
fn scores_intervals_and_letters_are_those_of_the_table() {
    let selection = selection(full());
    let report = report(&selection);
    let page = report.html();
    for section in &report.results().sections {
        for row in &section.rows {
            let one = compare::table::Table { sections: vec![section.clone()], ..report.results() };
            let text = compare::table::csv(&one).unwrap();
            let value = text.lines().nth(1).unwrap().split(',').nth(3).unwrap().to_owned();
            assert!(page.contains(&format!("data-sort=\"{value}\"")), "{value}");
            assert_eq!(row.cells.len(), report.results().columns.len());
        }
    }
}

#[test]
fn the_command_line_repeats_the_run() {
    let page = report(&selection(full())).html();
    assert!(page.contains("cargo harness --method lori-d --suite mini --task nlu --config lori-d-nlu.toml"));
    assert!(page.contains("--threads 2 --seed 0 --seeds 3"));
    let config = page.split("lori-d-nlu.toml &lt;&lt;").nth(1).unwrap();
    let config = config.split_once('\n').unwrap().1.split("END_OF_CONFIG").next().unwrap();
    let config: toml::Table = config.replace("&quot;", "\"").parse().unwrap();
    assert_eq!(config["task"]["training"]["steps"].as_integer(), Some(300));
    assert_eq!(config["methods"]["lori-d"]["optimizer"]["lr"].as_float(), Some(0.004));
    assert!(config["task"]["training"].get("clip").is_none(), "what is not set is not written");
}

#[test]
fn the_command_line_says_where_the_data_were() {
    let page = |repos: &[Option<&str>]| {
        let mut runs = full();
        let file = |repo: Option<&str>| DataFile { repo: repo.map(Into::into), ..DataFile::default() };
        for run in &mut runs {
            run.record.config["task"]["data"] = serde_json::json!({"files": {}});
            run.record.files = repos.iter().copied().map(file).collect();
        }
        report(&selection(runs)).html()
    };
    assert!(page(&[]).contains(" --data DIR --config"), "a record from before files were listed");
    assert!(page(&[Some("a/b@c"), None]).contains(" --data DIR --config"));
    assert!(page(&[Some("a/b@c"), Some("a/b@c")]).contains(" --data hf:a&#x2f;b@c --config"));
    assert!(!page(&[Some("a/b@c"), Some("a/d@e")]).contains(" --data "), "the tasks' own files say which");
}

#[test]
fn hostile_names_stay_words() {
    let name = "<script>alert(1)</script>\"'&";
    let mut runs: Vec<Run> = ["lora", "dora"].into_iter().map(|method| run(method, "nlu", 0, 0.5)).collect();
    runs[0].record.method = name.into();
    runs[0].record.notes = vec![name.into()];
    runs[1].record.task = name.into();
    runs[0].record.task = name.into();
    let page = report(&selection(runs)).html();
    assert!(!page.contains("<script>alert"));
    assert!(page.contains("&lt;script&gt;alert(1)"));
}

#[test]
fn one_seed_is_marked_on_the_page() {
    let page = report(&selection(suite(1))).html();
    assert!(page.contains("one seed †") && page.contains("another seed may change the order"));
    let page = report(&selection(suite(3))).html();
    assert!(!page.contains("one seed †") && page.contains("3 seeds"));
}

#[test]
fn the_front_is_told_by_the_test() {
    use compare::plot::Standing::{Beaten, Front, Tied};
    let mut runs: Vec<Run> =
        [("a", 0.60), ("c", 0.30), ("d", 0.85)].map(|(name, skill)| run(name, "nlu", 0, skill)).to_vec();
    // One item worse than `a` is not told apart from it.
    let Evidence::Items(mut items) = runs[0].evidence.clone() else { unreachable!() };
    items.iter_mut().find(|o| o.scores["accuracy"] == 1.0).unwrap().scores.insert("accuracy".into(), 0.0);
    runs.push(with_outcomes(sample::record("b", "nlu", 0), items));
    for run in &mut runs {
        let trainable = 100 * u64::from(run.record.method.as_bytes()[0] - b'a' + 1);
        run.record.parameters = compare::Parameters::counted(trainable, 1000, 10_000);
    }
    let selection = selection(runs);
    let report = report(&selection);
    let figure = report.figures().find(|f| f.name == "pareto-nlu-trainable-parameters").unwrap();
    let Plot::Pareto(pareto) = &figure.plot else { panic!("it is a Pareto plot") };
    let standing = |label: &str| pareto.points.iter().find(|p| p.label == label).unwrap().standing;
    assert_eq!(["a", "b", "c", "d"].map(standing), [Front, Tied, Beaten, Front]);
}

#[test]
fn an_accuracy_matrix_is_drawn() {
    let score = |value: f64| {
        Some(MetricValue {
            name: "accuracy".into(),
            version: "1".into(),
            value,
            items: Some(200),
            better: Better::Higher,
            scale: Scale::Fraction,
            aggregate: Aggregate::Mean,
        })
    };
    let mut continual = run("lori-s", "math, then nlu", 0, 0.5);
    continual.record.sequence = Some(Sequence {
        tasks: vec!["math".into(), "nlu".into()],
        before: vec![score(0.0), score(0.1)],
        after: vec![vec![score(0.8), score(0.15)], vec![score(0.6), score(0.9)]],
    });
    let folder = tempfile::tempdir().unwrap();
    Store::new(folder.path()).save(&continual).unwrap();
    let read = collect(folder.path()).unwrap();
    assert_eq!(read[0].record.sequence, continual.record.sequence);
    let selection = selection(read);
    let report = report(&selection);
    let figure = report.figures().find(|f| f.name.starts_with("continual")).unwrap();
    assert!(
        figure.caption.contains("Average at the end 75.0, backward transfer -20.0, forward transfer 5.0")
    );
    let svg = figure.svg();
    for words in ["after math", "before", "80.0", "73.9 – 85.0"] {
        assert!(svg.contains(words), "{words} in {svg}");
    }
    assert!(report.html().contains("Tasks learned one after another"));
}

#[test]
fn any_set_of_runs_gets_names_that_tell_it_apart() {
    let with = |method: &str, seed: u64, lr: f64, steps: u64| {
        let mut run = run(method, "nlu", seed, 0.5);
        run.record.config = serde_json::json!({
            "task": {"name": "nlu", "training": {"steps": steps}, "seed": seed},
            "method": {"name": method, "settings": {"lr": lr}},
        });
        run
    };
    let mut failed = with("lora", 9, 7.0, 100);
    failed.record.status = Status::Failed { reason: "made up".into() };
    let runs = distinct(vec![
        with("lora", 0, 0.1, 100),
        with("lora", 1, 0.1, 100),
        with("lora", 0, 0.2, 100),
        with("dora", 0, 0.3, 100),
        with("dora", 0, 0.3, 300),
        failed,
    ]);
    let names: Vec<_> = runs.iter().map(|r| format!("{}: {}", r.record.task, r.record.method)).collect();
    assert_eq!(
        names,
        [
            "nlu (steps=100): lora (lr=0.1)",
            "nlu (steps=100): lora (lr=0.1)",
            "nlu (steps=100): lora (lr=0.2)",
            "nlu (steps=100): dora",
            "nlu (steps=300): dora",
            "nlu: lora"
        ]
    );
    let selection = latest(runs);
    assert_eq!(selection.left_out.len(), 1);
    report(&selection);
    // What is one thing keeps its name.
    let same = suite(2);
    assert_eq!(distinct(same.clone()), same);
}

#[test]
fn many_differences_are_counted_and_still_told_apart() {
    let with = |n: u64| {
        let mut run = run("lora", "nlu", n, 0.5);
        run.record.config =
            serde_json::json!({"method": {"a": 1, "b": 1, "c": 1, "d": n, "e": n, "f": n, "g": n}});
        run
    };
    let names: Vec<_> = distinct(vec![with(0), with(1)]).into_iter().map(|r| r.record.method).collect();
    assert_eq!(names, ["lora (d=0, e=0, f=0, +1 more, 1)", "lora (d=1, e=1, f=1, +1 more, 2)"]);
}

#[test]
fn runs_come_from_records_and_from_results_of_peft() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().join("records"));
    for run in suite(1) {
        let path = store.save(&run).unwrap();
        assert_eq!(collect(&path).unwrap()[0].record.id, run.record.id);
    }
    // An adapter beside them is not taken for a record.
    let adapter = folder.path().join("adapters/nlu/lora/seed-0");
    std::fs::create_dir_all(&adapter).unwrap();
    std::fs::write(adapter.join("adapter_config.json"), "{}").unwrap();
    assert_eq!(collect(folder.path()).unwrap().len(), 8);
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hf");
    let methods: Vec<_> = collect(&results).unwrap().into_iter().map(|run| run.record.method).collect();
    assert!(methods.contains(&"hf:lora/rank32".to_owned()), "{methods:?}");
    let images = collect(&results.join("image-gen")).unwrap();
    assert_eq!(images[0].record.task, "image-gen");
    let empty = tempfile::tempdir().unwrap();
    let error = collect(empty.path()).unwrap_err();
    assert!(error.to_string().ends_with("holds no run") && error.hint().is_some());
    let selection = latest(distinct(collect(&results).unwrap()));
    let page = report(&selection).html();
    assert!(page.contains("hf:lora/rank32") && page.contains("&quot;peft_type&quot;: &quot;LORA&quot;"));
}

#[test]
fn the_recorded_runs_make_a_report() {
    let records = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results/mini-lori");
    let selection = selection(collect(&records).unwrap());
    let report = report(&selection);
    assert_eq!(report.results().sections.len(), 4);
    assert!(report.html().contains("cargo harness --method lori-s --suite mini --task safety"));
}

/// Sort, filter, open details, by mouse and keyboard, in light and dark, wide and narrow; see `browser/page.py`.
#[test]
fn the_page_works_in_a_browser() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/page.py");
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let there = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
    };
    if !there(&python, &["-c", "import selenium"]) || !there("chromedriver", &["--version"]) {
        eprintln!(
            "SKIPPED: needs chromium, chromedriver and Python's selenium (PYTHON names the interpreter)"
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    report(&selection(full())).write(folder.path()).unwrap();
    let output = Command::new(python).arg(script).arg(folder.path().join("report.html")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("ok    the keyboard sorts downwards"), "{said}");
}
