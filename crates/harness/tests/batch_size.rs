//! What a model answers does not depend on how many items are answered at a time.

use harness::evaluate::Examiner;
use harness::progress::Display;
use harness::session::Session;
use peft_core::Seeds;
use tasks::{Permission, Split, Task};
use tch::Device;

/// Outputs and the first metric of each item, with `batch_size`.
fn answers(strategy: &str, batch_size: usize) -> Vec<(String, f64)> {
    let metric = if strategy == "\"reading\"" { "nats_per_token" } else { "accuracy" };
    let engine =
        if metric == "accuracy" { "{ option = { answer = \"answer\" } }" } else { "{ perplexity = {} }" };
    let samples = if strategy.contains("sample") { "3" } else { "1" };
    let scoring = format!("{{ metrics = [{{ name = \"{metric}\", version = 1 }}], engine = {engine} }}");
    let changes = [
        ("decoding.strategy", strategy),
        ("decoding.samples", samples),
        ("scoring", &scoring),
        ("data.builtin.nlu.items.test", "12"),
    ];
    tch::set_num_threads(1);
    let config = tasks::provided("nlu").unwrap().with(&changes, "test").unwrap();
    let session = Session::for_task(&config, Device::Cpu, false, &Seeds::new(0)).unwrap();
    let task = Task::load(config, None).unwrap();
    let seeds = Seeds::new(5);
    let permission = Permission::Isolated;
    let examiner = Examiner {
        task: &task,
        text: &session.text,
        batch_size,
        permission,
        seeds: &seeds,
        display: Display::Quiet,
    };
    let scored = examiner.score(&*session.learner, Split::Test, "test").unwrap();
    let column = if metric == "accuracy" { "accuracy" } else { "nats" };
    scored.outcomes.into_iter().map(|o| (o.output, o.scores[column])).collect()
}

/// Sums of f32 come out in another order for another shape; a likelihood moves in its last digits.
const ROUNDING: f64 = 1e-4;

#[test]
fn answers_do_not_depend_on_the_batch() {
    for strategy in [
        "\"greedy\"",
        "{ sample = { temperature = 1.0, top_p = 0.9 } }",
        "{ likelihood = { options = [\" {a}\", \" {b}\", \" {c}\", \" {d}\"], normalize = \"tokens\" } }",
        "\"reading\"",
    ] {
        let whole = answers(strategy, 64);
        let distinct = whole.iter().map(|(text, _)| text).collect::<std::collections::BTreeSet<_>>();
        assert!(distinct.len() > 3, "{strategy}: hardly anything differs");
        for batch_size in [1, 7] {
            for ((text, score), (want, value)) in answers(strategy, batch_size).iter().zip(&whole) {
                assert!(
                    (score - value).abs() < ROUNDING * value.abs().max(1.0),
                    "{strategy}: {score}, {value}"
                );
                assert!(strategy == "\"reading\"" || text == want, "{strategy}: `{text}`, `{want}`");
            }
        }
    }
}
