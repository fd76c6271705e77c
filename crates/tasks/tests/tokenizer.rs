//! The built-in vocabulary: the same as transformers reads it, without loss, the same every time.

use proptest::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;
use tasks::mini::{PretrainData, train_tokenizer};
use tasks::{PRETRAIN_MINI, TextTokenizer};

static TOKENIZER: LazyLock<TextTokenizer> = LazyLock::new(train);

fn train() -> TextTokenizer {
    train_tokenizer(&PretrainData::parse(PRETRAIN_MINI, "configs/pretrain/mini.toml").unwrap()).unwrap()
}

#[derive(Deserialize)]
struct Golden {
    /// SHA-256 of the `tokenizer.json` the reference read.
    tokenizer_sha256: String,
    bos_eos_pad: [u32; 3],
    texts: Vec<(String, Vec<u32>, String)>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/tokenizer.json")).unwrap()
}

#[test]
fn training_repeats_to_the_byte() {
    let file = |tokenizer: &TextTokenizer| tokenizer.files(256).unwrap()[0].1.clone();
    let (first, second) = (file(&TOKENIZER), file(&train()));
    assert_eq!(first, second);
    let digest = hex::encode(Sha256::digest(first.as_bytes()));
    assert_eq!(digest, golden().tokenizer_sha256, "run tests/golden/tokenizer.py on the new vocabulary");
}

#[test]
fn transformers_reads_the_same_tokens() {
    let golden = golden();
    let special = [TOKENIZER.bos().unwrap(), TOKENIZER.eos().unwrap(), TOKENIZER.pad()];
    assert_eq!(special, golden.bos_eos_pad);
    for (text, ids, decoded) in golden.texts {
        assert_eq!(TOKENIZER.encode(&text).unwrap(), ids, "{text:?}");
        assert_eq!(TOKENIZER.decode(&ids).unwrap(), decoded, "{text:?}");
    }
}

#[test]
fn the_files_read_back() {
    let files = TOKENIZER.files(256).unwrap();
    let maps: Vec<_> = files[1..].iter().map(|(name, text)| (*name, text.clone().into_bytes())).collect();
    let read = TextTokenizer::from_files(files[0].1.as_bytes(), &maps).unwrap();
    assert_eq!(read.files(256).unwrap(), files);
    assert_eq!((read.bos(), read.eos(), read.pad()), (Some(1), Some(2), 0));
    assert_eq!(read.vocab_size(), 1024);
}

#[test]
fn a_number_is_its_digits_and_a_word_one_token() {
    let count = |text: &str| TOKENIZER.encode(text).unwrap().len();
    assert_eq!(count(" 17"), 2);
    assert_eq!(count(" deer"), 1);
    assert_eq!(count(" question : where does the deer live ?"), 8);
}

proptest! {
    #[test]
    fn no_text_is_lost(text in "\\PC{0,40}|[ -~\n\t]{0,80}") {
        // Text that spells a special token is one; nothing else is changed.
        prop_assume!(!text.contains('<'));
        prop_assert_eq!(TOKENIZER.decode(&TOKENIZER.encode(&text).unwrap()).unwrap(), text);
    }

    #[test]
    fn prompt_and_response_tokenize_apart_as_together(cut in 0usize..60, seed in 0u64..1000) {
        let data = PretrainData::parse(PRETRAIN_MINI, "configs/pretrain/mini.toml").unwrap();
        let text = tasks::mini::Corpus::new(&data.corpus).document(seed).text;
        let spaces: Vec<_> = text.match_indices(' ').map(|(at, _)| at).collect();
        let (prompt, response) = text.split_at(spaces[cut % spaces.len()]);
        let apart = [TOKENIZER.encode(prompt).unwrap(), TOKENIZER.encode(response).unwrap()].concat();
        prop_assert_eq!(apart, TOKENIZER.encode(&text).unwrap());
    }
}
