//! Real data and real tokenizers, where they lie beside the workspace; without them each test says so and passes.
#![allow(clippy::print_stderr, clippy::float_cmp)]

use std::path::PathBuf;
use tasks::{Encoder, Scorer, Split, Task, TextTokenizer, provided};

/// A path below `shared/` beside the workspace.
fn shared(path: &str) -> Option<PathBuf> {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let found = ["../shared", "../../shared"]
        .iter()
        .map(|up| workspace.join(up).join(path))
        .find(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: ../shared/{path} is not there");
    }
    found
}

fn gold_scores_one(name: &str, folder: &str, sizes: [usize; 3]) -> Option<Task> {
    let task =
        Task::load(provided(name).unwrap(), Some(&shared(folder)?)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(Split::ALL.map(|split| task.items(split).len()), sizes);
    let scorer = Scorer::new(&task.config().scoring);
    for split in Split::ALL {
        let items = task.items(split);
        let gold: Vec<_> = items.iter().map(|item| vec![item.response.clone()]).collect();
        for (item, scores) in items.iter().zip(scorer.score(items, &gold).unwrap()) {
            assert!(scores.values().all(|score| *score == 1.0), "{} {scores:?}: {}", item.id, item.response);
        }
    }
    Some(task)
}

#[test]
fn gsm8k_is_read_whole_and_its_gold_answers_are_right() {
    let Some(task) = gold_scores_one("gsm8k", "data", [6973, 500, 1319]) else { return };
    let janet = &task.items(Split::Test)[0];
    assert!(janet.response.ends_with("\n#### 18") && !janet.response.contains("<<"), "{}", janet.response);
    // From the data's SOURCE.md.
    assert_eq!(task.files()[0].sha256, "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465");
    gold_scores_one("gsm8k-lori", "data", [6973, 500, 1319]);
}

#[test]
fn viggo_is_read_whole_and_its_gold_answers_are_right() {
    let Some(task) = gold_scores_one("viggo", "data", [5103, 714, 1083]) else { return };
    assert_eq!(task.files()[2].sha256, "e052ec0ef0896bb965e305083d04087d177937c13a643f2f2346f906ef3f2be8");
}

/// Items of each split of the tasks whose files are there, the test as published.
const SIZES: &[(&str, [usize; 3])] = &[
    ("commonsense", [14_500, 500, 0]),
    ("boolq", [14_500, 500, 3_270]),
    ("piqa", [14_500, 500, 1_838]),
    ("social-iqa", [14_500, 500, 1_954]),
    ("winogrande", [14_500, 500, 1_267]),
    ("arc-easy", [14_500, 500, 2_376]),
    ("arc-challenge", [14_500, 500, 1_172]),
    ("openbookqa", [14_500, 500, 500]),
    ("hellaswag", [14_500, 500, 1_000]),
    ("arithmetic", [3_140, 120, 0]),
    ("math500", [0, 0, 500]),
    ("safety-tuned", [2_283, 200, 0]),
    ("advbench", [2_283, 0, 520]),
    ("physical-safety-safe", [2_283, 0, 100]),
    ("malicious-instructions", [2_283, 0, 100]),
    ("alpaca", [900, 100, 0]),
    ("cola", [8_051, 500, 1_043]),
    ("sst2", [66_349, 1_000, 872]),
    // The published training file has 3,668 rows; the one here lacks one.
    ("mrpc", [3_367, 300, 408]),
    ("stsb", [5_249, 500, 1_500]),
    ("rte", [2_240, 250, 277]),
    ("xquad-en", [0, 0, 1_190]),
    ("xsum-1000", [0, 0, 1_000]),
    // 1,083 sentences.
    ("viggo-text", [5_103, 238, 359]),
    // The non-blank lines of 4,358.
    ("wikitext2", [0, 2_461, 2_891]),
    ("tinystories", [717, 100, 100]),
];

#[test]
fn the_tasks_of_the_papers_have_the_published_sizes() {
    let Some(root) = shared("data") else { return };
    for (name, sizes) in SIZES {
        let task = Task::load(provided(name).unwrap(), Some(&root)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(Split::ALL.map(|split| task.items(split).len()), *sizes, "{name}");
    }
}

/// The gold answers of these score one in every metric that is a mean; those of the others are no texts a model
/// could write (a list of references, a solution that is wrong in the data), or there are none.
#[test]
fn gold_answers_of_the_papers_tasks_are_right() {
    let Some(root) = shared("data") else { return };
    let names = [
        "commonsense",
        "boolq",
        "piqa",
        "social-iqa",
        "winogrande",
        "arc-easy",
        "arc-challenge",
        "openbookqa",
        "hellaswag",
        "math500",
        "cola",
        "sst2",
        "mrpc",
        "rte",
    ];
    for name in names {
        let task = Task::load(provided(name).unwrap(), Some(&root)).unwrap();
        let scorer = Scorer::new(&task.config().scoring);
        for split in Split::ALL {
            let items = task.items(split);
            let gold: Vec<_> = items.iter().map(|item| vec![item.response.clone()]).collect();
            for (item, scores) in items.iter().zip(scorer.score(items, &gold).unwrap()) {
                assert_eq!(scores["accuracy"], 1.0, "{name} {}: {}", item.id, item.response);
            }
        }
    }
}

#[test]
fn spans_begin_where_the_data_say() {
    let Some(root) = shared("data") else { return };
    let task = Task::load(provided("xquad-en").unwrap(), Some(&root)).unwrap();
    for item in task.items(Split::Test) {
        let texts: Vec<String> = serde_json::from_str(&item.fields["answers"]).unwrap();
        let starts: Vec<usize> = serde_json::from_str(&item.fields["starts"]).unwrap();
        let context = item.second.as_deref().unwrap();
        for (text, start) in texts.iter().zip(starts) {
            let found: String = context.chars().skip(start).take(text.chars().count()).collect();
            assert_eq!(found, *text, "{}", item.id);
        }
    }
}

/// Items that stay for training and validation together, and the test. The first number is the count of those records of
/// `ft_math_data.json` whose instruction, in lower case and with single spaces, is none of the test's.
const CLEANED: &[(&str, usize, usize)] = &[
    ("addsub", 2944, 395),
    ("multiarith", 2780, 600),
    ("singleeq", 2854, 508),
    ("svamp", 2460, 1000),
    ("mawps", 3206, 238),
    ("gsm8k-adapters", 2205, 1319),
    ("aqua", 3057, 254),
];

#[test]
fn what_is_tested_is_not_trained_on() {
    let Some(root) = shared("data") else { return };
    for (name, left, tested) in CLEANED {
        let task = Task::load(provided(name).unwrap(), Some(&root)).unwrap();
        let sizes = Split::ALL.map(|split| task.items(split).len());
        if *name != "aqua" {
            assert_eq!((sizes[0] + sizes[1], sizes[2]), (*left, *tested), "{name}");
        }
        let prompt = task.overlap().prompt;
        assert_eq!((prompt.test_in_train, prompt.test_in_validation), (0, 0), "{name}");
    }
    let svamp = Task::load(provided("svamp").unwrap().preset("reference").unwrap(), Some(&root)).unwrap();
    assert_eq!(
        svamp.overlap().prompt.test_in_train,
        773,
        "of the test items, in the part that does not validate"
    );
}

#[test]
fn overlap_is_found_where_the_data_have_it() {
    let Some(root) = shared("data") else { return };
    // The mix was cleaned of the prompts of the tests.
    let piqa = Task::load(provided("piqa").unwrap(), Some(&root)).unwrap().overlap();
    assert_eq!(piqa.prompt.test_in_train, 0);
}

#[test]
fn real_tokenizers_encode_real_tasks() {
    for (model, bos, eos) in [("tinystories656k", 1, 2), ("stories260k", 1, 2)] {
        let Some(folder) = shared(&format!("models/{model}")) else { return };
        let tokenizer = TextTokenizer::from_dir(&folder).unwrap();
        assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(bos), Some(eos)));
        for (name, data) in [("viggo", "data"), ("gsm8k", "data")] {
            let task = Task::load(provided(name).unwrap(), Some(&shared(data).unwrap())).unwrap();
            let encoder = Encoder::new(task.config(), &tokenizer).unwrap();
            let items = task.items(Split::Test);
            let encoded = encoder.sequences(items).unwrap();
            assert_eq!(encoded.sequences.len() + encoded.truncated.dropped, items.len());
            assert!(encoded.sequences.iter().all(|s| s.tokens.len() <= 512 && s.tokens[0] == bos));
            let prompts = encoder.prompts(items, 100, 512).unwrap();
            assert_eq!(prompts.prompts.len(), items.len(), "every item is answered");
            eprintln!("{model} {name}: {:?}, prompts {:?}", encoded.truncated, prompts.truncated);
        }
    }
}
