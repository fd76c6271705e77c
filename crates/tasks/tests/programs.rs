//! The engine `tests`: programs beside their tests, from a user's file to the scores.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, clippy::float_cmp, reason = "scores of one answer are exactly 0 or 1")]

use regex::{Captures, Regex};
use std::path::{Path, PathBuf};
use tasks::{Fields, Item, Scorer, Scoring, Split, Task};

const OWN: &str = r#"
metrics = [{ name = "pass@1", version = 1 }, { name = "pass@10", version = 1 }]
[engine.tests]
program = "{head}{output}\n{test}"
code = "whole"
stop = ["\nclass"]
timeout_seconds = 1
memory_mb = 256
"#;

fn item(id: &str, fields: Fields) -> Item {
    let (key, prompt, response) = (id.to_owned(), String::new(), String::new());
    Item { id: id.to_owned(), cluster: None, key, prompt, second: None, response, fields }
}

fn twice() -> Item {
    let test = "assert twice(2) == 4\nassert twice(\"a\") == \"aa\"";
    let fields = [("head", "def twice(x):\n"), ("test", test)];
    item("twice", fields.map(|(name, text)| (name.to_owned(), text.to_owned())).into())
}

/// A scorer, unless nothing isolates programs here.
fn scorer(scoring: &Scoring) -> Option<Scorer> {
    let scorer = Scorer::new(scoring);
    match scorer.check_environment() {
        Ok(environment) => eprintln!("{}", environment.expect("it runs programs")),
        Err(error) => {
            eprintln!("skipped: {error}");
            return None;
        }
    }
    Some(scorer)
}

#[test]
fn an_answer_passes_if_all_tests_do() {
    let Some(scorer) = scorer(&toml::from_str(OWN).unwrap()) else { return };
    for (answer, right) in [
        ("    return x + x", 1.0),
        ("    return x + x\nclass This is no Python", 1.0),
        ("    print('noise')\n    return x * 2\nif __name__ == '__main__': raise ValueError", 1.0),
        ("    return 2 + x", 0.0),
        ("    return 4", 0.0),
        ("    raise SystemExit(0)", 0.0),
        ("    import os; os._exit(0)", 0.0),
        ("    while True: pass", 0.0),
        ("    return bytearray(1 << 30)", 0.0),
        ("    return x + x\n\"\"\" an open text", 0.0),
        ("    return x + x\n\0", 0.0),
        ("", 0.0),
    ] {
        let outputs = vec![vec![answer.to_owned(); 10]];
        let scores = scorer.score(&[twice()], &outputs).unwrap();
        assert_eq!((scores[0]["pass@1"], scores[0]["pass@10"]), (right, right), "{answer:?}");
    }
}

#[test]
fn pass_at_k_looks_at_all_samples() {
    let Some(scorer) = scorer(&toml::from_str(OWN).unwrap()) else { return };
    let answers = |right: usize, n: usize| -> Vec<String> {
        (0..n).map(|i| if i < right { "    return 2 * x" } else { "    return x" }.to_owned()).collect()
    };
    let scores = scorer.score(&[twice(), twice()], &[answers(3, 12), answers(0, 12)]).unwrap();
    assert!((scores[0]["pass@1"] - 0.25).abs() < 1e-12);
    // 1 - C(9, 10)/C(12, 10): of nine wrong answers ten cannot be drawn.
    assert_eq!((scores[0]["pass@10"], scores[1]["pass@10"]), (1.0, 0.0));

    let error = scorer.score(&[twice()], &[answers(1, 9)]).unwrap_err();
    assert_eq!(error.to_string(), "scoring `twice`: `pass@10` needs 10 answers and it has 9");
    let error = scorer.score(&[twice(), twice()], &[answers(1, 10), Vec::new()]).unwrap_err();
    assert_eq!(error.to_string(), "scoring `twice`: 0 outputs where the first item has 10");
}

/// `data/..` below `shared/` beside the workspace.
fn shared(path: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let found = ["../shared", "../../shared"]
        .map(|up| workspace.join(up).join(path))
        .into_iter()
        .find(|p| p.exists());
    if found.is_none() {
        eprintln!("skipped: ../shared/{path} is not there");
    }
    found
}

/// A provided task's scoring, and its items of all splits.
fn provided(name: &str) -> Option<(Scoring, Vec<Item>)> {
    let data = shared(&format!("data/{name}"))?;
    let task = Task::load(tasks::provided(name).unwrap(), data.parent()).unwrap();
    let items = Split::ALL.into_iter().flat_map(|split| task.items(split).to_vec()).collect();
    Some((task.config().scoring.clone(), items))
}

/// The ids of items that pass with these answers.
fn passing(scorer: &Scorer, items: &[Item], answers: Vec<String>) -> Vec<String> {
    let outputs: Vec<_> = answers.into_iter().map(|answer| vec![answer]).collect();
    let scores = scorer.score(items, &outputs).unwrap();
    let passed = items.iter().zip(scores).filter(|(_, scores)| scores["pass@1"] == 1.0);
    passed.map(|(item, _)| item.id.clone()).collect()
}

fn references(items: &[Item], field: &str) -> Vec<String> {
    items.iter().map(|item| item.fields[field].clone()).collect()
}

/// How many references `mutate` changes, and the ids of those that pass all the same.
fn survivors(
    scorer: &Scorer,
    items: &[Item],
    field: &str,
    mutate: impl Fn(&str) -> String,
) -> (usize, Vec<String>) {
    let changed = |item: &&Item| mutate(&item.fields[field]) != item.fields[field];
    let items: Vec<_> = items.iter().filter(changed).cloned().collect();
    let mutants = items.iter().map(|item| mutate(&item.fields[field])).collect();
    (items.len(), passing(scorer, &items, mutants))
}

/// Every `return x` returns `not x`; the most direct way to make a right function wrong.
fn negated(code: &str) -> String {
    Regex::new(r"\breturn +(\S)").unwrap().replace_all(code, "return not $1").into_owned()
}

/// Every whole number is one more.
fn shifted(code: &str) -> String {
    let more =
        |found: &Captures<'_>| found[0].parse::<u128>().map_or(found[0].to_owned(), |n| (n + 1).to_string());
    Regex::new(r"\b[0-9]+\b").unwrap().replace_all(code, more).into_owned()
}

/// Tasks whose solution still passes when each of its numbers is one more. Most mean the same then: a counter that begins
/// at 1 and is compared with 1 (1, 3, 56, 61), two sums that are compared with each other (74), values that only order
/// (19). The rest differ on inputs that the tests lack: a maximum in the first place (35), a dictionary with one key
/// (95), slices past the end (154).
const EQUIVALENT: [u32; 9] = [1, 3, 19, 35, 56, 61, 74, 95, 154];

#[test]
fn the_solutions_of_humaneval_pass_and_their_mutants_do_not() {
    let Some((scoring, items)) = provided("humaneval") else { return };
    let Some(scorer) = scorer(&scoring) else { return };
    assert_eq!(passing(&scorer, &items, references(&items, "solution")).len(), 164);
    let survivors = |mutate: &dyn Fn(&str) -> String| survivors(&scorer, &items, "solution", mutate);
    assert_eq!(survivors(&|_| "    pass\n".to_owned()), (164, Vec::new()));
    assert_eq!(survivors(&negated), (164, Vec::new()));
    assert_eq!(survivors(&shifted), (132, EQUIVALENT.map(|n| format!("test-{n:05}")).into()));
}

#[test]
fn the_reference_code_of_mbpp_passes_and_its_mutants_do_not() {
    let Some((scoring, items)) = provided("mbpp") else { return };
    let Some(scorer) = scorer(&scoring) else { return };
    assert_eq!(passing(&scorer, &items, references(&items, "code")).len(), 964);
    let test = items.iter().filter(|item| item.id.starts_with("test")).take(50).cloned().collect::<Vec<_>>();
    assert_eq!(survivors(&scorer, &test, "code", negated), (49, Vec::new()));
}
