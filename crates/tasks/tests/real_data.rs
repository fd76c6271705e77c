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
    let Some(task) = gold_scores_one("gsm8k", "data/gsm8k", [6973, 500, 1319]) else { return };
    let janet = &task.items(Split::Test)[0];
    assert!(janet.response.ends_with("\n#### 18") && !janet.response.contains("<<"), "{}", janet.response);
    // From the data's SOURCE.md.
    assert_eq!(task.files()[0].sha256, "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465");
    gold_scores_one("gsm8k-lori", "data/gsm8k", [6973, 500, 1319]);
}

#[test]
fn viggo_is_read_whole_and_its_gold_answers_are_right() {
    let Some(task) = gold_scores_one("viggo", "data/viggo", [5103, 714, 1083]) else { return };
    assert_eq!(task.files()[2].sha256, "e052ec0ef0896bb965e305083d04087d177937c13a643f2f2346f906ef3f2be8");
}

#[test]
fn real_tokenizers_encode_real_tasks() {
    for (model, bos, eos) in [("tinystories656k", 1, 2), ("stories260k", 1, 2)] {
        let Some(folder) = shared(&format!("models/{model}")) else { return };
        let tokenizer = TextTokenizer::from_dir(&folder).unwrap();
        assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(bos), Some(eos)));
        for (name, data) in [("viggo", "data/viggo"), ("gsm8k", "data/gsm8k")] {
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
