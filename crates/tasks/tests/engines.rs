//! Scoring sections of task files: every engine can be written down, and mistakes are answered.

use tasks::{Engine, Equality, PROVIDED, Result, Scorer, TaskConfig, metrics};

/// Task `nlu` with another scoring section; quotes in it may be single.
fn with_scoring(scoring: &str) -> Result<TaskConfig> {
    let (_, nlu) = PROVIDED.iter().find(|(name, _)| *name == "nlu").unwrap();
    let (before, _) = nlu.split_once("[scoring]").unwrap();
    TaskConfig::parse(&format!("{before}[scoring]\n{}", scoring.replace('\'', "\"")), "t.toml")
}

fn error(metric: &str, engine: &str) -> String {
    let scoring = format!("metrics = [{{ name = '{metric}', version = 1 }}]\nengine = {{ {engine} }}\n");
    with_scoring(&scoring).unwrap_err().to_string()
}

#[test]
fn every_engine_can_be_written_down_with_all_its_metrics() {
    for (engine, first) in [
        ("first_word = { answer = 'answer' }", "accuracy"),
        ("option = { answer = 'answer' }", "accuracy"),
        (
            "extract = { answer = 'answer', answer_rules = [{ pattern = '.+', occurrence = 'first' }], \
             rules = [{ pattern = '[A-E]', occurrence = 'last' }], equality = 'folded' }",
            "accuracy",
        ),
        ("math = { answer = 'answer' }", "accuracy"),
        ("label = { answer = 'answer', classes = ['no', 'yes'] }", "accuracy"),
        ("value = { answer = 'answer' }", "pearson"),
        ("span = { answers = 'answer' }", "exact_match"),
        ("overlap = { references = 'answer' }", "rouge1"),
        ("refusal = { refusals = ['sorry'], role = 'kind' }", "refusal_rate"),
        ("refusal_pairs = { refusals = ['sorry'], role = 'kind', answer = 'answer' }", "pair_accuracy"),
        ("sql = { answer = 'answer' }", "exact_match"),
        ("functional = { answer = 'answer' }", "exact_match"),
        (
            "program = { answer = 'answer', inputs = 1, low = 0, high = 9, seed = 0, step_limit = 9 }",
            "pass@1",
        ),
        ("perplexity = {}", "perplexity"),
    ] {
        let scoring = |metrics: &[&str]| {
            let list: Vec<_> =
                metrics.iter().map(|name| format!("{{ name = '{name}', version = 1 }}")).collect();
            format!("metrics = [{}]\nengine = {{ {engine} }}\n", list.join(", "))
        };
        let config = with_scoring(&scoring(&[first])).unwrap_or_else(|error| panic!("{engine}: {error}"));
        let names: Vec<_> = metrics(&config.scoring.engine).iter().map(|metric| metric.name).collect();
        let config = with_scoring(&scoring(&names)).unwrap_or_else(|error| panic!("{engine}: {error}"));
        assert_eq!(Scorer::new(&config.scoring).metrics(), metrics(&config.scoring.engine), "{engine}");
        assert_eq!(TaskConfig::parse(&config.to_toml(), "again").unwrap(), config, "{engine}");
    }
}

#[test]
fn extract_still_answers_to_its_old_name() {
    let rules = "[{ pattern = '[0-9]+', occurrence = 'last', remove = ',' }]";
    let scoring = format!(
        "metrics = [{{ name = 'accuracy', version = 1 }}]\n\
         engine = {{ number = {{ answer = 'answer', answer_rules = {rules}, rules = {rules}, \
         equality = {{ close = 0.001 }} }} }}\n"
    );
    let config = with_scoring(&scoring).unwrap();
    assert!(matches!(config.scoring.engine, Engine::Extract { equality: Equality::Close(0.001), .. }));
    assert!(config.to_toml().contains("[scoring.engine.extract]"), "{}", config.to_toml());
}

#[test]
fn contradictions_are_answered() {
    for (metric, engine, reason) in [
        (
            "f1",
            "label = { answer = 'answer', classes = ['a', 'b', 'c'] }",
            "second of two classes, and there are 3",
        ),
        ("accuracy", "label = { answer = 'answer', classes = ['a'] }", "`classes` needs at least two names"),
        ("accuracy", "label = { answer = 'answer', classes = ['a', 'a '] }", "`classes` names `a ` twice"),
        ("refusal_rate", "refusal = { refusals = [] }", "`refusals` needs at least one text"),
        ("refused_harmful", "refusal = { refusals = ['no'] }", "metric `refused_harmful` needs `role`"),
        ("bleu", "span = { answers = 'answer' }", "the engine computes no metric `bleu`"),
        ("f1", "span = { answers = 'anwser' }", "the data have no field `anwser`"),
        (
            "accuracy",
            "extract = { answer = 'answer', answer_rules = [{ pattern = '.', occurrence = 'last' }], \
             rules = [{ pattern = '.', occurrence = 'last' }], equality = { close = -0.1 } }",
            "`close` is the largest difference of two equal numbers and cannot be -0.1",
        ),
    ] {
        let error = error(metric, engine);
        assert!(error.starts_with("`t.toml` line ") && error.contains(reason), "{error}");
    }
}
