//! The gate between two sets of runs. Runs are made up, see `sample`.

mod sample;

use compare::gate::{Bounds, Finding, Gate, Verdict, gate};
use compare::table::{TerminalStyle, terminal};
use compare::{Better, Error, Evidence, Run};
use sample::{run, suite, with_outcomes};

fn compared(baseline: &[Run], new: &[Run]) -> Gate {
    gate(baseline, new, &Bounds::default()).unwrap()
}

fn reasons(gate: &Gate) -> Vec<String> {
    gate.failures()
        .map(|check| match &check.verdict {
            Verdict::Fails(reason) => format!("{} {}: {reason}", check.task, check.method),
            verdict => panic!("a failure is {verdict:?}"),
        })
        .collect()
}

#[test]
fn the_same_runs_pass() {
    for seeds in [1, 3] {
        let runs = suite(seeds);
        let gate = compared(&runs, &runs);
        assert!(gate.passes(), "{:?}", reasons(&gate));
        // Eight entries with two metrics each, and six that train.
        assert_eq!(gate.checks.len(), 22);
    }
}

#[test]
fn a_score_that_fell_fails_and_is_named() {
    let mut new = suite(1);
    new[1] = run("lora", "nlu", 0, 0.4);
    let gate = compared(&suite(1), &new);
    assert_eq!(reasons(&gate), ["nlu lora: worse than the baseline's interval"]);
    let text = terminal(&gate.table(), TerminalStyle::PLAIN);
    assert!(text.contains("FAILS: worse than the baseline's interval"), "{text}");
    assert!(text.contains("† one seed"));
}

#[test]
fn a_score_that_rose_passes() {
    let mut new = suite(1);
    new[1] = run("lora", "nlu", 0, 0.9);
    assert!(compared(&suite(1), &new).passes());
}

#[test]
fn a_small_fall_on_the_same_items_is_noticed() {
    let baseline = run("lora", "nlu", 0, 0.6);
    let mut new = baseline.clone();
    let Evidence::Items(items) = &mut new.evidence else { unreachable!() };
    // Twelve items that were right are wrong now: within the interval of 400 items, but nothing went the other way.
    for outcome in items.iter_mut().filter(|o| o.scores["accuracy"] == 1.0).take(12) {
        outcome.scores.insert("accuracy".into(), 0.0);
    }
    let new = with_outcomes(new.record, std::mem::take(items));
    let gate = compared(std::slice::from_ref(&baseline), &[new]);
    let reasons = reasons(&gate);
    assert!(
        reasons.len() == 1 && reasons[0].starts_with("nlu lora: worse on the same items (McNemar"),
        "{reasons:?}"
    );
    let Finding::Score(score) = &gate.checks[0].finding else { panic!("scores come first") };
    assert!(score.after.value > score.interval.unwrap().low && score.adjusted_p.unwrap() < 0.01);
    // Two items are not.
    let mut new = baseline.clone();
    let Evidence::Items(items) = &mut new.evidence else { unreachable!() };
    for outcome in items.iter_mut().filter(|o| o.scores["accuracy"] == 1.0).take(2) {
        outcome.scores.insert("accuracy".into(), 0.0);
    }
    let new = with_outcomes(new.record, std::mem::take(items));
    assert!(compared(&[baseline], &[new]).passes());
}

#[test]
fn lower_may_be_better() {
    let lower = |value: f64| {
        let mut run = run("lora", "nlu", 0, 0.6);
        run.evidence = Evidence::Counts;
        run.record.metrics.truncate(1);
        run.record.metrics[0].better = Better::Lower;
        run.record.metrics[0].value = value;
        run
    };
    assert!(compared(&[lower(0.5)], &[lower(0.2)]).passes());
    assert!(!compared(&[lower(0.5)], &[lower(0.8)]).passes());
}

#[test]
fn a_slower_step_fails_beyond_the_bound() {
    let slower = |factor: f64| {
        let mut run = run("lora", "nlu", 0, 0.6);
        for phase in &mut run.record.phases {
            phase.seconds = phase.seconds.map(|seconds| seconds * factor);
        }
        run
    };
    assert!(compared(&[slower(1.0)], &[slower(1.2)]).passes());
    let gate = compared(&[slower(1.0)], &[slower(1.5)]);
    assert_eq!(reasons(&gate), ["nlu lora: 1.50 times as slow, allowed are 1.25"]);
    assert!(compared(&[slower(1.5)], &[slower(1.0)]).passes());
    // On another machine nothing is known.
    let mut elsewhere = slower(9.0);
    elsewhere.record.environment.cpu = Some("another".into());
    let gate = compared(&[slower(1.0)], &[elsewhere]);
    assert!(gate.passes());
    assert!(
        gate.checks
            .iter()
            .any(|c| matches!(&c.verdict, Verdict::Open(why) if why.contains("another machine")))
    );
}

#[test]
fn what_is_missing_or_changed_fails() {
    let all = suite(1);
    let gate = compared(&all, &all[1..]);
    assert_eq!(reasons(&gate), ["nlu base: the new set has no run of it"]);
    // What is new has nothing to be compared with.
    let gate = compared(&all[1..], &all);
    assert!(gate.passes());
    assert!(gate.checks.iter().any(|c| c.verdict == Verdict::Open("the baseline has no run of it".into())));

    let mut other_data = all.clone();
    for run in other_data.iter_mut().filter(|run| run.record.task == "nlu") {
        run.record.data.get_mut(&compare::Split::Test).unwrap().hash = "other".into();
    }
    let gate = compared(&all, &other_data);
    assert!(reasons(&gate).iter().all(|reason| reason.ends_with("their test data differ")));
    assert_eq!(reasons(&gate).len(), 4);

    // Also where nothing else is left to compare.
    let mut alone = run("lora", "nlu", 0, 0.6);
    alone.record.model.fingerprint = Some("other".into());
    let gate = compared(&[run("lora", "nlu", 0, 0.6)], &[alone]);
    assert!(reasons(&gate)[0].ends_with("have different weights"));

    let mut other_rule = vec![run("lora", "nlu", 0, 0.6)];
    other_rule[0].record.metrics[0].version = "2".into();
    let gate = compared(&[run("lora", "nlu", 0, 0.6)], &other_rule);
    assert!(reasons(&gate)[0].contains("versions `1` and `2`"));
}

#[test]
fn nothing_in_common_is_no_pass() {
    let [a, b] = ["nlu", "math"].map(|task| run("lora", task, 0, 0.6));
    let error = gate(&[a], &[b], &Bounds::default()).unwrap_err();
    assert!(matches!(error, Error::NothingCompared));
}

#[test]
fn a_fall_without_evidence_stays_open() {
    let value = |value: f64| {
        let mut run = run("lora", "nlu", 0, 0.6);
        run.evidence = Evidence::Counts;
        run.record.metrics[0].items = None;
        run.record.metrics[0].value = value;
        run.record.metrics.truncate(1);
        run
    };
    let gate = compared(&[value(0.6)], &[value(0.4)]);
    assert!(gate.passes());
    assert!(
        gate.checks.iter().any(|c| matches!(&c.verdict, Verdict::Open(why) if why.contains("no evidence")))
    );
}
