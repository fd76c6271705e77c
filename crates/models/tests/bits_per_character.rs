//! Pretrained models predict text as well as their references say.

mod common;

use common::{load, shared};
use models::{Activations, Frame, ModelFiles, Tokenizer};
use peft_core::Mode;
use tch::{IndexOp, Kind, Tensor};

/// Bits per character on the first 200 stories, one text per pass, cut at 512 tokens; characters are counted in the
/// decoded tokens. The references come from transformers.
#[test]
fn bits_per_character() {
    const TOLERANCE: f64 = 0.005;
    for (name, reference, tokens) in [("tinystories656k", 1.1477, 40_628), ("stories260k", 1.1229, 79_880)] {
        let Some(folder) = shared(&format!("models/{name}")) else { return };
        let Some(stories) = shared("data/tinystories_text/tinystories_ascii.json") else { return };
        let stories: Vec<String> = serde_json::from_str(&std::fs::read_to_string(stories).unwrap()).unwrap();
        let tokenizer = Tokenizer::load(&ModelFiles::Folder(folder.clone())).unwrap();
        let model = load(&folder, Kind::Float);
        let (mut nats, mut scored, mut characters) = (0.0, 0, 0);
        for story in &stories[..200] {
            let mut ids = tokenizer.encode(story, Frame::Added).unwrap();
            ids.truncate(512);
            characters += tokenizer.decode(&ids).unwrap().chars().count();
            let ids = Tensor::from_slice(&ids).unsqueeze(0);
            let hidden = model.hidden(&ids, None, Mode::Eval, Activations::Keep).unwrap();
            let loss = model.loss(&hidden, &ids, Mode::Eval).unwrap();
            nats += loss.sum.double_value(&[]);
            scored += loss.tokens;
            let by_token = model.token_losses(&hidden, &ids).unwrap();
            assert_eq!(by_token.size(), ids.i((.., 1..)).size());
            assert!(
                (by_token.sum(Kind::Double).double_value(&[]) / loss.sum.double_value(&[]) - 1.0).abs()
                    < 1e-5
            );
        }
        let bits = nats / std::f64::consts::LN_2 / characters as f64;
        assert_eq!(scored, tokens, "{name}");
        assert!((bits / reference - 1.0).abs() < TOLERANCE, "{name}: {bits}, reference {reference}");
        println!("{name}: {bits:.4} bits per character, reference {reference}");
    }
}
