//! The corpus: true, without the tasks' formats and items, with all their words.

use regex::Regex;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use tasks::mini::{Corpus, Kind, PackedRows, PretrainData, Skill, probes, train_tokenizer};
use tasks::{PRETRAIN_MINI, Program, Split, Task, provided};

const DOCUMENTS: u64 = 30_000;

fn data() -> PretrainData {
    PretrainData::parse(PRETRAIN_MINI, "configs/pretrain/mini.toml").unwrap()
}

fn texts() -> Vec<String> {
    Corpus::new(&data().corpus).documents(0).take(DOCUMENTS as usize).map(|document| document.text).collect()
}

fn suite() -> Vec<Task> {
    ["nlu", "math", "code", "safety"].map(|name| Task::load(provided(name).unwrap(), None).unwrap()).into()
}

#[test]
fn no_task_format_occurs_and_so_no_prompt() {
    let whole = texts().join("\n");
    for (name, markers) in [
        ("nlu", ["question :", "answer :"]),
        ("math", ["problem :", "solution :"]),
        ("code", ["task :", "program :"]),
        ("safety", ["request :", "reply :"]),
    ] {
        let template = provided(name).unwrap().prompt.template.to_string();
        for marker in markers {
            assert!(template.contains(marker), "every prompt of {name} holds `{marker}`");
            assert!(!whole.contains(marker), "`{marker}` of {name} occurs");
        }
    }
}

#[test]
fn no_problem_and_no_description_occurs() {
    let asked: BTreeSet<String> = suite()
        .iter()
        .flat_map(|task| Split::ALL.map(|split| task.items(split)).concat())
        .filter_map(|item| item.fields.get("problem").or_else(|| item.fields.get("task")).cloned())
        .collect();
    assert!(asked.len() > 18_000);
    let any = asked.iter().map(|text| regex::escape(text)).collect::<Vec<_>>().join("|");
    let any = regex::RegexBuilder::new(&any).size_limit(1 << 30).build().unwrap();
    for text in texts() {
        assert!(!any.is_match(&text), "{text}");
    }
}

#[test]
fn every_word_of_the_tasks_occurs_often() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for text in texts() {
        for word in text.split_whitespace() {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
    }
    let number = Regex::new("^-?[0-9]+$").unwrap();
    let mut missing = BTreeSet::new();
    for task in suite() {
        for item in task.items(Split::Test) {
            for word in item.prompt.split_whitespace().chain(item.response.split_whitespace()) {
                if !number.is_match(word) && counts.get(word).is_none_or(|count| *count < 20) {
                    missing.insert(word.to_owned());
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn arithmetic_is_true() {
    let statement = Regex::new(r"(\d+) ([-+*]) (\d+) = (\d+)").unwrap();
    let mut seen = 0;
    for text in texts() {
        for parts in statement.captures_iter(&text) {
            let [a, b, c] = [1, 3, 4].map(|group| parts[group].parse::<i64>().unwrap());
            let right = match &parts[2] {
                "+" => a + b,
                "-" => a - b,
                _ => a * b,
            };
            assert_eq!(c, right, "{text}");
            seen += 1;
        }
    }
    assert!(seen > 5000, "{seen}");
}

#[test]
fn programs_give_what_they_compute() {
    let corpus = Corpus::new(&data().corpus);
    let value = |program: &str| Program::parse(program).unwrap().run(0, 1000).unwrap();
    let (mut results, mut values) = (0, 0);
    for index in 0..3000 {
        let text = corpus.sample(Kind::Programs, index).text;
        if let Some((program, result)) = text.split_once(" ; print x . out ") {
            assert_eq!(format!("{} .", value(program)), result, "{text}");
            results += 1;
            continue;
        }
        let mut program = String::new();
        for part in text.trim_end_matches(" .").split(" ; ") {
            let (statement, given) = part.split_once(" gives ").unwrap_or((part, ""));
            program =
                if program.is_empty() { statement.to_owned() } else { format!("{program} ; {statement}") };
            if !given.is_empty() {
                assert_eq!(value(&program).to_string(), given, "{text}");
                values += 1;
            }
        }
    }
    assert!(results > 500 && values > 3000, "{results} {values}");
}

#[test]
fn recaps_add_up() {
    let corpus = Corpus::new(&data().corpus);
    let mut seen = 0;
    for index in 0..2000 {
        let text = corpus.sample(Kind::Recap, index).text;
        let numbers =
            |part: &str| -> Vec<i64> { part.split(' ').filter_map(|word| word.parse().ok()).collect() };
        let Some((story, terms)) = text.split_once(" in short : ") else { continue };
        // Every number of the story in its order, but for those somebody also has.
        let told: Vec<_> =
            story.split(" .").filter(|sentence| !sentence.contains("also")).flat_map(numbers).collect();
        assert_eq!(numbers(terms), told, "{text}");
        seen += 1;
    }
    assert!(seen > 1000);
}

#[test]
fn documents_stand_for_themselves() {
    let corpus = Corpus::new(&data().corpus);
    let later: Vec<_> = corpus.documents(500).take(3).collect();
    assert_eq!(later, (500..503).map(|index| corpus.document(index)).collect::<Vec<_>>());
    for kind in Kind::ALL {
        let text = corpus.sample(kind, 1).text;
        assert!(text.starts_with(' ') && !text.contains("  ") && text.is_ascii(), "{kind:?}: {text}");
    }
}

#[test]
fn kinds_come_by_their_weights() {
    let data = data();
    let corpus = Corpus::new(&data.corpus);
    let mut counts: BTreeMap<Kind, u32> = BTreeMap::new();
    for document in corpus.documents(0).take(DOCUMENTS as usize) {
        *counts.entry(document.kind).or_default() += 1;
    }
    let total: u32 = data.corpus.weights.values().sum();
    for (kind, weight) in &data.corpus.weights {
        let expected = f64::from(*weight) / f64::from(total) * DOCUMENTS as f64;
        // Five standard deviations of a binomial count.
        assert!((f64::from(counts[kind]) - expected).abs() < 5.0 * expected.sqrt(), "{kind:?}");
    }
}

/// Recorded once; a change asks for a new base model.
#[test]
fn the_corpus_is_pinned() {
    let mut hash = Sha256::new();
    for text in texts() {
        hash.update(text.as_bytes());
    }
    let digest = hex::encode(&hash.finalize()[..8]);
    assert_eq!(digest, "7644cbf2741b0ae0");
}

#[test]
fn rows_are_full_and_resumable() {
    let data = data();
    let tokenizer = train_tokenizer(&data).unwrap();
    let corpus = Corpus::new(&data.corpus);
    let rows =
        |first| PackedRows::new(&corpus, &tokenizer, data.row_length, first).unwrap().map(|row| row.unwrap());
    let some: Vec<_> = rows(0).take(20).collect();
    for row in &some {
        assert_eq!(row.ids.len(), data.row_length);
        assert_eq!(row.ids[0], tokenizer.bos().unwrap());
        assert!(row.ids.contains(&tokenizer.eos().unwrap()));
    }
    let resumed: Vec<_> = rows(some[9].next_document).take(10).collect();
    assert_eq!(resumed, some[10..]);
    let first = tokenizer.decode(&some[0].ids).unwrap();
    assert!(first.starts_with(&corpus.document(0).text), "{first}");
}

#[test]
fn probes_are_right_and_their_expected_ends_count() {
    let data = data();
    for skill in Skill::ALL {
        let some = probes(skill, data.probes.seed, 50);
        assert_eq!(some, probes(skill, data.probes.seed, 50));
        for probe in some {
            assert!(probe.passes(&format!("{} and more", probe.expected)), "{probe:?}");
            assert!(
                !probe.passes(&format!("{}0", probe.expected)) || probe.expected.ends_with('.'),
                "{probe:?}"
            );
            assert!(!probe.passes(""), "{probe:?}");
        }
    }
}
