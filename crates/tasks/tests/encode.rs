//! From items to tokens: loss masks, special tokens, truncation.

use std::sync::LazyLock;
use tasks::mini::{PretrainData, train_tokenizer};
use tasks::{Encoder, IGNORED, Item, PRETRAIN_MINI, Split, Task, TaskConfig, TextTokenizer, provided};

static TOKENIZER: LazyLock<TextTokenizer> = LazyLock::new(|| {
    train_tokenizer(&PretrainData::parse(PRETRAIN_MINI, "configs/pretrain/mini.toml").unwrap()).unwrap()
});

fn config(overrides: &[(&str, &str)]) -> TaskConfig {
    provided("math").unwrap().with(overrides, "test").unwrap()
}

fn item(prompt: &str, response: &str) -> Item {
    Item {
        id: "test-00000".into(),
        cluster: None,
        key: String::new(),
        prompt: prompt.into(),
        second: None,
        response: response.into(),
        fields: tasks::Fields::new(),
    }
}

#[test]
fn the_response_and_its_end_count() {
    let encoder_config = config(&[]);
    let encoder = Encoder::new(&encoder_config, &TOKENIZER).unwrap();
    let encoded =
        encoder.sequences(&[item(" problem : eve has 26 figs . solution :", " 26 - 5 = 21")]).unwrap();
    let sequence = &encoded.sequences[0];
    let response = TOKENIZER.encode(" 26 - 5 = 21").unwrap();
    let masked = sequence.tokens.len() - response.len() - 1;
    assert_eq!(sequence.tokens[0], TOKENIZER.bos().unwrap());
    assert_eq!(sequence.tokens.last(), TOKENIZER.eos().as_ref());
    assert!(sequence.labels[..masked].iter().all(|label| *label == IGNORED));
    let counted: Vec<_> = sequence.tokens[masked..].iter().map(|token| i64::from(*token)).collect();
    assert_eq!(sequence.labels[masked..], counted);
    assert_eq!(sequence.scored(), response.len() + 1);

    let full = config(&[("prompt.loss", "full"), ("prompt.eos", "none"), ("prompt.bos", "none")]);
    let encoded = Encoder::new(&full, &TOKENIZER).unwrap().sequences(&[item(" a b", " c")]).unwrap();
    let sequence = &encoded.sequences[0];
    assert_eq!(sequence.labels[0], IGNORED, "nothing comes before the first token");
    assert_eq!(sequence.scored(), sequence.tokens.len() - 1);
}

#[test]
fn a_prompt_is_the_beginning_of_its_sequence() {
    for name in ["nlu", "math", "code", "safety"] {
        let task = Task::load(provided(name).unwrap(), None).unwrap();
        let encoder = Encoder::new(task.config(), &TOKENIZER).unwrap();
        let items = task.items(Split::Test);
        let sequences = encoder.sequences(items).unwrap();
        let new = task.config().decoding.max_new_tokens;
        let prompts = encoder.prompts(items, new, 256).unwrap();
        assert_eq!(
            (sequences.truncated.cut, sequences.truncated.dropped, prompts.truncated.cut),
            (0, 0, 0),
            "{name}"
        );
        for ((item, sequence), prompt) in items.iter().zip(&sequences.sequences).zip(&prompts.prompts) {
            assert!(sequence.tokens.starts_with(prompt), "{name} {}", item.id);
            let answer = sequence.tokens.len() - prompt.len();
            assert_eq!(sequence.scored(), answer, "{name} {}", item.id);
            assert!(answer <= new, "{name} {}: the gold answer fits max_new_tokens", item.id);
            let joined = TOKENIZER.encode(&format!("{}{}", item.prompt, item.response)).unwrap();
            assert_eq!(sequence.tokens[1..sequence.tokens.len() - 1], joined, "{name} {}", item.id);
        }
    }
}

#[test]
fn truncation_goes_by_the_rule_and_is_counted() {
    // bos + 6 + 2 + eos = 10 tokens.
    let items = [item(" a b a b a b", " a b"), item(" a", " b")];
    let run = |rule: &str| {
        let config = config(&[("training.truncation", rule), ("training.max_length", "5")]);
        Encoder::new(&config, &TOKENIZER).unwrap().sequences(&items)
    };
    let error = run("error").unwrap_err();
    assert_eq!(error.to_string(), "item `test-00000` has 10 tokens and 5 fit");
    assert!(error.hint().is_some());

    let dropped = run("drop").unwrap();
    assert_eq!(
        (dropped.items.as_slice(), dropped.truncated.dropped, dropped.truncated.cut),
        (&[1][..], 1, 0)
    );
    assert_eq!(dropped.truncated.longest, 10);

    let end = run("keep_end").unwrap();
    assert_eq!((end.items.as_slice(), end.truncated.dropped, end.truncated.cut), (&[0, 1][..], 0, 1));
    assert_eq!(end.sequences[0].tokens.last(), TOKENIZER.eos().as_ref());
    assert_eq!(end.sequences[0].scored(), 3);

    let start = run("keep_start").unwrap();
    assert_eq!(
        (start.items.as_slice(), start.truncated.dropped),
        (&[1][..], 1),
        "nothing that counts was left"
    );
}

#[test]
fn a_cut_sequence_never_scores_its_first_token() {
    let config = config(&[
        ("training.truncation", "keep_end"),
        ("training.max_length", "3"),
        ("prompt.loss", "response"),
    ]);
    let encoded = Encoder::new(&config, &TOKENIZER).unwrap().sequences(&[item(" a", " b a b a b")]).unwrap();
    assert_eq!(encoded.sequences[0].labels[0], IGNORED);
    assert_eq!(encoded.sequences[0].scored(), 2);
}

#[test]
fn prompts_leave_room_for_the_answer() {
    let items = [item(" a b a b a b", " a b")];
    let run = |rule: &str| {
        let config = config(&[("training.truncation", rule)]);
        Encoder::new(&config, &TOKENIZER).unwrap().prompts(&items, 6, 10)
    };
    let whole = TOKENIZER.encode(&items[0].prompt).unwrap();
    assert_eq!(run("error").unwrap_err().to_string(), "item `test-00000` has 7 tokens and 4 fit");
    assert_eq!(run("keep_start").unwrap().prompts[0][1..], whole[..3]);
    for rule in ["keep_end", "drop"] {
        let encoded = run(rule).unwrap();
        assert_eq!((encoded.prompts[0].as_slice(), encoded.truncated.cut), (&whole[2..], 1));
    }
}

#[test]
fn a_missing_special_token_is_an_error() {
    let files = TOKENIZER.files(256).unwrap();
    let bare = TextTokenizer::from_files(files[0].1.as_bytes(), &[]).unwrap();
    let error = Encoder::new(&config(&[]), &bare).unwrap_err();
    assert_eq!(error.to_string(), "tokenizer: task `math` needs a beginning-of-sequence token");
    assert!(Encoder::new(&config(&[("prompt.bos", "none"), ("prompt.eos", "none")]), &bare).is_ok());
}
