//! What a plan says of the differences it could tell apart.

mod common;

use std::path::{Path, PathBuf};

use common::{refused, run, small, text};
use compare::stats::power::{Pairing, Plan, SeedNoise};
use harness::power::Assumption;

fn plan(more: &[&str]) -> String {
    let small = small("math");
    let mut args = vec!["plan", "--method", "lora", "--task", "math", "--threads", "1", "--quiet"];
    args.extend(small.iter().map(String::as_str));
    args.extend(more);
    let output = run(&args);
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

/// The cells of the table of power.
fn cells(said: &str) -> Vec<String> {
    let table = &said[said.find("tells apart").unwrap()..];
    let line = table.lines().find(|line| line.starts_with("math")).unwrap_or_else(|| panic!("{said}"));
    line.split("  ").map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn the_smallest_difference_and_what_one_point_needs_are_said() {
    let noise = SeedNoise { sd: 0.01, item_correlation: 0.5 };
    let expected = |seeds: u32| Plan { noise, seeds, ..Plan::new(Pairing::Paired { discordance: 0.2 }) };
    let cells = cells(&plan(&["--seeds", "3"]));
    let points = format!("{:.1} points", 100.0 * expected(3).detectable_difference(40).unwrap());
    assert_eq!(cells[1..3], ["40 × 3".to_owned(), points]);
    assert_eq!(cells.last().unwrap(), "assumed");

    let five = self::cells(&plan(&["--seeds", "5", "--tell", "5"]));
    let items = format!("{} × 5", expected(5).items_needed(0.05).unwrap());
    let seeds = expected(5).seeds_needed(0.05, 40).map_or("–".to_owned(), |seeds| format!("40 × {seeds}"));
    assert_eq!(five[3..5], [items, seeds]);
    refused(&["plan", "--method", "lora", "--tell", "0"], &["expected a number between 0 and 100"]);
}

/// Recorded: LoRI-D and LoRI-S on math, with one seed.
fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results/mini-lori")
}

#[test]
fn records_say_how_often_methods_disagree() {
    let runs = compare::collect(&recorded()).unwrap();
    let outcomes = |method: &str| {
        let of = |run: &&compare::Run| run.record.task == "math" && run.record.method == method;
        runs.iter().find(of).unwrap().outcomes().unwrap().to_vec()
    };
    let (a, b) = (outcomes("lori-d"), outcomes("lori-s"));
    let differ = a.iter().zip(&b).filter(|(a, b)| a.scores["accuracy"] != b.scores["accuracy"]).count();
    let share = format!("{:.1} %", 100.0 * differ as f64 / a.len() as f64);
    let cells = cells(&plan(&["--from", recorded().to_str().unwrap()]));
    assert!(cells.contains(&share), "{share}: {cells:?}");
    assert_eq!(cells.last().unwrap(), "1 pair of methods, 1 seed, its noise assumed");
}

#[test]
fn several_seeds_say_how_much_seeds_differ_and_one_does_not() {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results");
    let runs = |folder: &str| compare::collect(&results.join(folder)).unwrap();
    let three = Assumption::of(&runs("merge-pair"), "safety").unwrap();
    assert!(three.source.ends_with("of methods, 3 seeds"), "{}", three.source);
    assert_ne!(three.noise, Assumption::default().noise);
    // Pairs with one seed change how often methods disagree, and say nothing of seeds.
    let mut all = runs("merge-pair");
    let known: Vec<String> = all.iter().map(|run| run.record.method.clone()).collect();
    all.extend(runs("mini-all").into_iter().filter(|run| !known.contains(&run.record.method)));
    let both = Assumption::of(&all, "safety").unwrap();
    assert!(both.source.contains(" with 3 seeds"), "{}", both.source);
    assert_eq!(both.noise, three.noise);
    assert_ne!(both.discordance, three.discordance);
}
