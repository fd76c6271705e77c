//! A check of one tree against another: every rule fails for what it is there for, and for nothing else.

mod sample;

use compare::gate::power::{Simulated, rate};
use compare::gate::{
    Allowance, Bounds, Failure, Gate, Measured, Measurements, Pace, Side, Verdict, Work, check, comment,
    tolerance,
};
use compare::stats::Settings;
use compare::stats::power::{Pairing, Plan};
use compare::table::{TerminalStyle, terminal};
use compare::{Environment, Run};
use sample::run;

const BOUNDS: Bounds =
    Bounds { settings: Settings { confidence: 0.99, resamples: 5000, seed: 0 }, slowdown: None };
const ALLOWANCE: Allowance = Allowance { here: 1.1, elsewhere: 1.5 };

fn runs() -> Vec<Run> {
    vec![run("lora", "nlu", 0, 0.6), run("dora", "nlu", 0, 0.7)]
}

fn cell(method: &str) -> Measured {
    Measured {
        task: "nlu".into(),
        method: method.into(),
        settings: "settings".into(),
        adapters: ["abcdef0123".into(), "abcdef0123".into()],
        losses: vec![3.0, 2.5, 2.0],
        update_norm: 1.5,
        evaluation_loss: 0.9,
        trainable: 1000,
        adapter_bytes: 4200,
        work: Work {
            steps: 40,
            operations: [("aten::copy_", 100), ("aten::mm", 700)].map(|(n, c)| (n.to_owned(), c)).into(),
            flops: 1_000_000,
            allocated_bytes: 50_000_000,
            peak_bytes: 2_000_000,
        },
        pace: Pace { ratio: 1.3, low: 1.28, high: 1.32, pairs: 200, noise: 0.05, refused: None },
    }
}

fn measured() -> Measurements {
    let environment = Environment { cpu: Some("this".into()), threads: Some(2), ..Environment::default() };
    Measurements { environment, cells: vec![cell("lora"), cell("dora")], failures: Vec::new() }
}

fn compared(runs_after: &[Run], after: &Measurements) -> Gate {
    let (runs, before) = (runs(), measured());
    let side = |runs, measurements| Side { runs, measurements };
    check(side(&runs, &before), side(runs_after, after), &BOUNDS, ALLOWANCE).unwrap()
}

/// The reasons that the check has after `change` of one cell.
fn after(change: impl FnOnce(&mut Measured)) -> Vec<String> {
    let mut new = measured();
    change(&mut new.cells[0]);
    compared(&runs(), &new).reasons()
}

fn only(reasons: &[String], start: &str) {
    assert!(reasons.len() == 1 && reasons[0].starts_with(start), "{reasons:?}");
}

#[test]
fn the_same_tree_passes() {
    let gate = compared(&runs(), &measured());
    assert!(gate.passes() && gate.checks.iter().all(|check| check.verdict == Verdict::Passes));
    // Two scores and eleven quantities for each cell.
    assert_eq!(gate.checks.len(), 26);
}

#[test]
fn each_quantity_fails_alone() {
    only(&after(|cell| cell.adapters[1] = "other".into()), "nlu · lora: two runs");
    only(&after(|cell| cell.losses[1] *= 1.0 + 2.0 * tolerance::LOSS), "nlu · lora: the loss of step 2");
    only(&after(|cell| cell.losses[1] = f64::NAN), "nlu · lora: the loss of step 2");
    only(&after(|cell| cell.losses.truncate(2)), "nlu · lora: 2 losses");
    only(&after(|cell| cell.update_norm *= 1.0 - 2.0 * tolerance::UPDATE_NORM), "nlu · lora: update -");
    only(&after(|cell| cell.evaluation_loss *= 1.5), "nlu · lora: eval loss +50.00 %");
    only(&after(|cell| cell.trainable -= 1), "nlu · lora: 999 trainable, was 1000");
    only(&after(|cell| cell.adapter_bytes *= 2), "nlu · lora: file +100.00 %");
    only(&after(|cell| cell.work.flops += 1), "nlu · lora: FLOPs");
    only(&after(|cell| cell.work.allocated_bytes += 100_000), "nlu · lora: bytes +0.20 %");
    only(&after(|cell| cell.work.peak_bytes += 100_000), "nlu · lora: peak +5.00 %");
}

#[test]
fn within_the_tolerances_nothing_fails() {
    let reasons = after(|cell| {
        cell.adapters = ["other".into(), "other".into()];
        cell.losses[1] *= 1.0 - 0.5 * tolerance::LOSS;
        cell.update_norm *= 1.0 + 0.5 * tolerance::UPDATE_NORM;
        cell.evaluation_loss *= 1.0 + 0.5 * tolerance::EVALUATION_LOSS;
        cell.adapter_bytes += 2;
        cell.work.allocated_bytes += 100;
    });
    assert!(reasons.is_empty(), "{reasons:?}");
    // Less work is a gain.
    let reasons = after(|cell| {
        cell.work.flops /= 2;
        cell.work.operations.remove("aten::copy_");
        (cell.work.allocated_bytes, cell.work.peak_bytes, cell.adapter_bytes) = (1, 1, 1);
    });
    assert!(reasons.is_empty(), "{reasons:?}");
}

#[test]
fn more_operations_are_named() {
    let reasons = after(|cell| {
        *cell.work.operations.get_mut("aten::mm").unwrap() += 7;
        cell.work.operations.insert("aten::clone".into(), 40);
    });
    only(&reasons, "nlu · lora: operations +5.88 %");
    assert!(reasons[0].ends_with("(aten::clone 40 more, aten::mm 7 more)"), "{reasons:?}");
}

#[test]
fn pace_fails_with_its_whole_interval_only() {
    let slower = |low: f64| {
        move |cell: &mut Measured| {
            let Pace { ratio, low: l, high, .. } = &mut cell.pace;
            (*ratio, *l, *high) = (low + 0.02, low, low + 0.04);
        }
    };
    assert!(after(slower(1.32 * 1.1 - 0.001)).is_empty());
    only(
        &after(slower(1.32 * 1.1 + 0.001)),
        "nlu · lora: a step takes 1.47 [1.45, 1.49] of the floor's time",
    );
    // Another processor has more room.
    let mut elsewhere = measured();
    elsewhere.environment.cpu = Some("that".into());
    slower(1.6)(&mut elsewhere.cells[0]);
    assert!(compared(&runs(), &elsewhere).passes());
    slower(2.1)(&mut elsewhere.cells[0]);
    assert!(!compared(&runs(), &elsewhere).passes());
    // A refused number decides nothing, however good it is.
    let mut refused = measured();
    refused.cells[0].pace =
        Pace { ratio: 1.0, refused: Some("the loss did not fall".into()), ..Pace::default() };
    let gate = compared(&runs(), &refused);
    assert!(gate.passes());
    let open = Verdict::Open("no speed: the loss did not fall".into());
    assert_eq!(gate.checks.iter().filter(|check| check.verdict == open).count(), 1);
}

#[test]
fn a_cell_that_failed_or_has_other_settings_is_no_pass() {
    let mut new = measured();
    new.cells.remove(0);
    let (task, method) = ("nlu".to_owned(), "lora".to_owned());
    new.failures.push(Failure { task, method, reason: "the loss is NaN".into() });
    let gate = compared(&runs()[1..], &new);
    assert_eq!(gate.reasons(), ["nlu · lora: the loss is NaN"]);
    assert_eq!(gate.checks.len(), 14, "the other cell is compared all the same");

    let mut other = measured();
    other.cells[0].settings = "others".into();
    let gate = compared(&runs(), &other);
    assert!(gate.passes());
    assert!(
        gate.checks
            .iter()
            .any(|c| matches!(&c.verdict, Verdict::Open(why) if why.contains("other settings")))
    );
}

#[test]
fn people_see_what_failed() {
    let mut new = measured();
    new.cells[1].work.flops *= 2;
    let gate = compared(&runs(), &new);
    let text = terminal(&gate.overview(), TerminalStyle::PLAIN);
    assert!(text.contains("FAIL +100.00 %") && text.contains("1.30 [1.28, 1.32]"), "{text}");
    let markdown = comment(&gate, &["A note.".to_owned()]);
    assert!(
        markdown.starts_with("### Check against the baseline: 1 comparison failed\n\n- ❌ nlu · dora: FLOPs"),
        "{markdown}"
    );
    assert!(markdown.contains("A note.") && markdown.contains("<details>"));
}

#[test]
fn measurements_are_read_back_as_written() {
    let folder = tempfile::tempdir().unwrap();
    measured().write(folder.path()).unwrap();
    assert_eq!(Measurements::read(folder.path()).unwrap(), measured());
    std::fs::write(folder.path().join("check.json"), "{").unwrap();
    let error = Measurements::read(folder.path()).unwrap_err().to_string();
    assert!(error.ends_with("check.json` is not a valid set of measurements"), "{error}");
}

/// 400 items of two runs. Without a loss the test is exact, so the rate of false alarms is at most half the level (one side);
/// where every answer stays, nothing can fail; a large loss is always seen.
#[test]
fn simulated_rates_are_those_of_the_test() {
    let runs = runs();
    let rate = |discordance, loss, everywhere| {
        rate(&runs, Simulated { discordance, loss, everywhere }, &BOUNDS, 400, 1).unwrap()
    };
    assert_eq!(rate(0.0, 0.0, true), 0.0);
    assert!(rate(0.1, 0.0, true) <= 0.02, "{}", rate(0.1, 0.0, true));
    // Connor's approximation: of 400 items 7 % differ, Holm's first step is at 0.01 / 4. It gives 0.78; mid-p has a little more.
    let plan = Plan { alpha: 0.01 / 4.0, ..Plan::new(Pairing::Paired { discordance: 0.07 }) };
    let (found, expected) = (rate(0.02, 0.05, false), plan.power(0.05, 400).unwrap());
    assert!(
        (found - expected).abs() < 0.08,
        "{found} of the simulated losses are found, expected {expected}"
    );
    assert!(rate(0.02, 0.02, true) > rate(0.02, 0.005, true));
}
