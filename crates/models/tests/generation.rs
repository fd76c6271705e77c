//! Continuations are those of transformers, whatever the batch.

mod common;

use std::ops::ControlFlow;
use std::path::Path;

use common::{GOLDEN, Tolerance, golden, load, prompts, random_ids, shared, tensors};
use models::{Completion, Decoder, Finish, Generation, ModelFiles, Sampling, SpecialTokens, Tokenizer};
use peft_core::{Seeds, StateDict};
use tch::{Kind, Tensor};

const LOGITS: Tolerance = Tolerance { atol: 1e-5, rtol: 1e-4 };

fn greedy(max_new_tokens: usize) -> Generation {
    Generation {
        max_new_tokens,
        sampling: Sampling::Greedy,
        end_tokens: Vec::new(),
        stop_strings: Vec::new(),
        batch_size: 8,
    }
}

fn generate(model: &Decoder, prompts: &[Vec<i64>], settings: &Generation) -> Vec<Completion> {
    model.generate(prompts, settings, None, &mut |_| ControlFlow::Continue(())).unwrap()
}

/// Tokens and the logits they were chosen from equal `tokens [B, n]` and `logits [B, n, V]`, in one batch and alone.
fn check(model: &Decoder, prompts: &[Vec<i64>], tokens: &Tensor, logits: &Tensor) {
    let want: Vec<Vec<i64>> = Vec::try_from(tokens).unwrap();
    for batch_size in [8, 2, 1] {
        let settings = Generation { batch_size, ..greedy(want[0].len()) };
        let mut seen: Vec<Vec<Tensor>> = prompts.iter().map(|_| Vec::new()).collect();
        let completions = model.generate(prompts, &settings, None, &mut |new| {
            seen[new.prompt].push(new.logits().copy());
            ControlFlow::Continue(())
        });
        for (row, completion) in completions.unwrap().into_iter().enumerate() {
            assert_eq!((completion.tokens, completion.finish), (want[row].clone(), Finish::Length));
            LOGITS.check("logits", &Tensor::stack(&seen[row], 0), &logits.get(row as i64));
        }
    }
}

#[test]
fn golden_cases() {
    for name in GOLDEN {
        let folder = golden(name);
        let (inputs, expected) =
            (tensors(&folder.join("inputs.safetensors")), tensors(&folder.join("expected.safetensors")));
        let model = load(&folder.join("model"), Kind::Float);
        let prompts = prompts(&inputs["prompts"], &inputs["prompt_mask"]);
        check(&model, &prompts, &expected["generated"], &expected["generated_logits"]);
    }
}

#[test]
fn parity_case() {
    let Some(folder) = shared("parity/generate-llama") else { return };
    let batch: StateDict = tensors(&folder.join("batches.safetensors"));
    let flat = |name: &str| {
        let tensor = &batch[name];
        if tensor.dim() == 3 { tensor.squeeze_dim(0) } else { tensor.shallow_clone() }
    };
    let prompts = prompts(&flat("input_ids"), &flat("attention_mask"));
    let expected = tensors(&folder.join("expected.safetensors"));
    let model = load(&folder.join("model"), Kind::Float);
    check(&model, &prompts, &expected["tokens"], &expected["step_logits"]);

    // With an end token, rows leave the batch one by one; the case fills them up with the padding token 0.
    let settings = Generation { end_tokens: vec![41], ..greedy(12) };
    let width = expected["tokens_eos"].size()[1] as usize;
    for (row, completion) in generate(&model, &prompts, &settings).into_iter().enumerate() {
        let mut tokens = completion.tokens;
        assert_eq!(completion.finish == Finish::EndToken, tokens.last() == Some(&41));
        tokens.resize(width, 0);
        assert_eq!(tokens, Vec::<i64>::try_from(expected["tokens_eos"].get(row as i64)).unwrap());
    }
}

#[test]
fn sampled_rows_do_not_depend_on_their_batch() {
    let model = load(&golden(GOLDEN[0]).join("model"), Kind::Double);
    let prompts: Vec<Vec<i64>> =
        (1..6).map(|n| Vec::try_from(random_ids(&model, 1, n).view(-1)).unwrap()).collect();
    let run = |batch_size, seed| {
        let sampling = Sampling::Nucleus { temperature: 1.5, top_p: 0.95, seeds: Seeds::new(seed) };
        generate(&model, &prompts, &Generation { sampling, batch_size, ..greedy(20) })
    };
    assert_eq!(run(5, 0), run(2, 0));
    assert_eq!(run(5, 0), run(1, 0));
    assert_ne!(run(5, 0), run(5, 1));
}

#[test]
fn a_watcher_can_break_off() {
    let model = load(&golden(GOLDEN[0]).join("model"), Kind::Float);
    let prompts = vec![vec![5, 6], vec![7], vec![8]];
    let settings = Generation { batch_size: 2, ..greedy(10) };
    let mut left = 5;
    let mut watch = |_: &models::NewToken<'_>| {
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let completions = model.generate(&prompts, &settings, None, &mut watch).unwrap();
    assert!(completions.iter().all(|completion| completion.finish == Finish::Interrupted));
    assert_eq!(completions.iter().map(|completion| completion.tokens.len()).collect::<Vec<_>>(), [3, 3, 0]);
    let whole = generate(&model, &prompts, &settings);
    assert_eq!(completions[0].tokens, whole[0].tokens[..3]);
}

#[test]
fn settings_out_of_range_are_refused() {
    let model = load(&golden(GOLDEN[0]).join("model"), Kind::Float);
    let refused = |prompts: &[Vec<i64>], settings: Generation| {
        model.generate(prompts, &settings, None, &mut |_| ControlFlow::Continue(())).unwrap_err().to_string()
    };
    let error = refused(&[vec![5], vec![5; 60]], greedy(10));
    assert_eq!(
        error,
        "`max_new_tokens = 10`: prompt 1 has 60 tokens, which leaves room for 4 in the context of 64"
    );
    assert!(refused(&[vec![]], greedy(1)).contains("prompt 0"));
    assert!(refused(&[vec![5]], greedy(0)).contains("max_new_tokens"));
    assert!(refused(&[vec![41]], greedy(1)).contains("libtorch"), "an id outside the vocabulary");
    let sampling = Sampling::Nucleus { temperature: 0.0, top_p: 1.0, seeds: Seeds::new(0) };
    assert!(refused(&[vec![5]], Generation { sampling, ..greedy(1) }).contains("temperature"));
    let stop_strings = vec!["a".to_owned()];
    assert!(refused(&[vec![5]], Generation { stop_strings, ..greedy(1) }).contains("no tokenizer"));
}

/// Text of `tests/reference/stories.py`: transformers' greedy continuations.
fn story(folder: &Path, prompt: &str, max_new_tokens: usize, stop: &[&str]) -> Completion {
    let files = ModelFiles::Folder(folder.to_owned());
    let (model, tokenizer) = (load(folder, Kind::Float), Tokenizer::load(&files).unwrap());
    let special = SpecialTokens::load(&files, Some(&tokenizer)).unwrap();
    let settings = Generation {
        end_tokens: special.eos,
        stop_strings: stop.iter().map(|stop| (*stop).to_owned()).collect(),
        ..greedy(max_new_tokens)
    };
    let prompt = tokenizer.encode(prompt, models::Frame::Added).unwrap();
    let mut streamed = String::new();
    let mut stream = tokenizer.stream();
    let mut completions = model
        .generate(&[prompt], &settings, Some(&tokenizer), &mut |new| {
            streamed.push_str(&stream.push(new.token).unwrap());
            ControlFlow::Continue(())
        })
        .unwrap();
    let completion = completions.remove(0);
    assert!(streamed.trim_start().starts_with(completion.text.trim_start()));
    completion
}

#[test]
fn greedy_text_of_pretrained_models() {
    let expected = std::fs::read_to_string(golden("stories.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
    for (name, continuations) in expected.as_object().unwrap() {
        let Some(folder) = shared(&format!("models/{name}")) else { return };
        for (prompt, text) in continuations.as_object().unwrap() {
            let completion = story(&folder, prompt, 200, &[]);
            assert_eq!(completion.text, text.as_str().unwrap(), "{name}: {prompt}");
        }
    }
}

#[test]
fn stop_strings_end_the_text() {
    let Some(folder) = shared("models/stories260k") else { return };
    let whole = story(&folder, "Once upon a time", 100, &[]).text;
    let stopped = story(&folder, "Once upon a time", 100, &["Lily.", "park"]);
    assert_eq!(stopped.finish, Finish::StopString);
    assert_eq!(stopped.text, whole[..whole.find("Lily.").unwrap()]);
}

#[test]
fn the_end_token_is_no_text() {
    let Some(folder) = shared("models/stories260k") else { return };
    let whole = story(&folder, "Once upon a time", 20, &[]);
    let model = load(&folder, Kind::Float);
    let tokenizer = Tokenizer::load(&ModelFiles::Folder(folder)).unwrap();
    // An ordinary word as end token: the tokenizer does not hold it for special.
    let settings = Generation { end_tokens: vec![whole.tokens[9]], ..greedy(20) };
    let prompt = tokenizer.encode("Once upon a time", models::Frame::Added).unwrap();
    let ended =
        model.generate(&[prompt], &settings, Some(&tokenizer), &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(ended[0].finish, Finish::EndToken);
    let said = ended[0].tokens.len() - 1;
    assert_eq!(ended[0].text, tokenizer.decode(&whole.tokens[..said]).unwrap());
}
