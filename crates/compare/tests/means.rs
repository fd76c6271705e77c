//! Numbers of means stay what they were: a change elsewhere in the statistics must not move them.

mod sample;

use std::fmt::Write;

use compare::stats::Settings;
use compare::{Run, entries, rank};
use sample::suite;

/// Items two by two in clusters.
fn paired(mut run: Run) -> Run {
    let compare::Evidence::Items(outcomes) = &mut run.evidence else { panic!("it has items") };
    for (position, outcome) in outcomes.iter_mut().enumerate() {
        outcome.cluster = Some(format!("pair {}", position / 2));
    }
    run
}

/// To all digits but those in which platforms' logarithms may differ.
fn numbers(runs: &[Run], metric: &str) -> String {
    let runs: Vec<Run> = runs.iter().filter(|run| run.record.task == "nlu").cloned().collect();
    let ranking = rank(&entries(&runs).unwrap(), Some(metric), &Settings::default()).unwrap();
    let mut text = String::new();
    for row in &ranking.rows {
        let interval = row.pooled.interval.unwrap();
        writeln!(
            text,
            "{} {:.12e} [{:.12e}, {:.12e}] {:?} {}",
            row.entry.record().method,
            row.pooled.metric.value,
            interval.low,
            interval.high,
            interval.kind,
            row.letters
        )
        .unwrap();
    }
    for c in &ranking.comparisons {
        let e = &c.effect;
        writeln!(
            text,
            "{}–{} {:.12e} [{:.12e}, {:.12e}] p {:.12e} {:.12e} {:?}",
            c.first, c.second, e.difference, e.interval.low, e.interval.high, e.p_value, c.adjusted_p, e.test
        )
        .unwrap();
    }
    text
}

#[test]
fn they_stay() {
    let mut text = String::new();
    for seeds in [1, 3] {
        let runs = suite(seeds);
        let clustered: Vec<Run> = runs.iter().cloned().map(paired).collect();
        for (runs, kind) in [(&runs, "items"), (&clustered, "pairs")] {
            for metric in ["accuracy", "length"] {
                writeln!(text, "{metric}, {kind}, seeds: {seeds}\n{}", numbers(runs, metric)).unwrap();
            }
        }
    }
    insta::assert_snapshot!(text);
}
