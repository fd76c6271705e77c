//! Every family generates, searches and marks what transformers does (`reference/families.py`).

mod common;

use std::ops::ControlFlow;

use common::{Everything, Tolerance, attach, golden, load, prompts, tensors};
use models::{
    Activations, BeamSearch, Decoder, Generation, HeadSource, ModelFiles, Rows, Sampling, Seq2Seq, SpanModel,
    Stop,
};
use peft_core::{Adaptable, Mode, Seeds};
use serde_json::Value;
use tch::{Device, IndexOp, Kind, Tensor};

const LOGITS: Tolerance = Tolerance { atol: 1e-5, rtol: 1e-4 };
const DECODERS: [&str; 8] = ["mistral", "qwen2", "qwen3", "gemma2", "gpt2", "gptj", "opt", "opt-350m"];

fn family(name: &str) -> std::path::PathBuf {
    golden("families").join(name)
}

fn files(name: &str) -> ModelFiles {
    ModelFiles::Folder(family(name).join("model"))
}

/// `x [B, T, ..]` where there are tokens.
fn at_tokens(x: &Tensor, mask: &Tensor) -> Tensor {
    let mask = mask.view(-1).to_kind(Kind::Bool);
    x.view([mask.size()[0], -1]).index(&[Some(&mask)])
}

fn greedy(
    model: &Decoder,
    prompts: &[Vec<i64>],
    count: usize,
    batch_size: usize,
) -> (Vec<Vec<i64>>, Vec<Tensor>) {
    let settings = Generation {
        max_new_tokens: count,
        sampling: Sampling::Greedy,
        end_tokens: Vec::new(),
        stop_strings: Vec::new(),
        batch_size,
    };
    let mut seen: Vec<Vec<Tensor>> = prompts.iter().map(|_| Vec::new()).collect();
    let completions = model.generate(prompts, &settings, None, &mut |new| {
        seen[new.prompt].push(new.logits().copy());
        ControlFlow::Continue(())
    });
    let tokens = completions.unwrap().into_iter().map(|completion| completion.tokens).collect();
    (tokens, seen.iter().map(|row| Tensor::stack(row, 0)).collect())
}

#[test]
fn greedy_generation_token_for_token() {
    for name in DECODERS {
        let model = load(&family(name).join("model"), Kind::Float);
        let inputs = tensors(&family(name).join("inputs.safetensors"));
        let expected = tensors(&family(name).join("expected.safetensors"));
        let want: Vec<Vec<i64>> = Vec::try_from(&expected["generated"]).unwrap();
        let prompts = prompts(&inputs["prompts"], &inputs["prompt_mask"]);
        for batch_size in [3, 1] {
            let (tokens, logits) = greedy(&model, &prompts, want[0].len(), batch_size);
            assert_eq!(tokens, want, "{name}");
            for (row, logits) in logits.iter().enumerate() {
                LOGITS.check(name, logits, &expected["generated_logits"].get(row as i64));
            }
        }
    }
}

/// Whole rows, and rows with their padding before the tokens in the place of after them.
#[test]
fn logits_wherever_the_padding_is() {
    for name in DECODERS {
        let model = load(&family(name).join("model"), Kind::Float);
        let inputs = tensors(&family(name).join("inputs.safetensors"));
        let expected = tensors(&family(name).join("expected.safetensors"));
        let (ids, mask) = (&inputs["input_ids"], &inputs["attention_mask"]);
        let logits = |ids: &Tensor, mask: &Tensor| {
            let hidden = model.hidden(ids, Some(mask), Mode::Eval, Activations::Keep).unwrap();
            model.logits(&hidden, Mode::Eval)
        };
        let want = at_tokens(&expected["logits"], mask);
        LOGITS.check(name, &at_tokens(&logits(ids, mask), mask), &want);
        let flipped = |t: &Tensor| {
            let (whole, short) = (t.i(..1), t.i(1..2));
            let turned = short.roll([5], [1]); // nine tokens of fourteen
            Tensor::cat(&[&whole, &turned, &t.i(2..)], 0)
        };
        let (ids, mask) = (flipped(ids), flipped(mask));
        LOGITS.check(name, &at_tokens(&logits(&ids, &mask), &mask), &want);
    }
}

/// The gradients of a pass that recomputes its blocks are those of one that keeps everything.
#[test]
fn recomputation_is_exact() {
    for name in DECODERS {
        let mut model = load(&family(name).join("model"), Kind::Float);
        let ids = tensors(&family(name).join("inputs.safetensors"))["input_ids"].shallow_clone();
        let attachment = attach(&mut model, Everything);
        let leaves: Vec<Tensor> =
            attachment.store().training().map(|(_, entry)| entry.tensor.shallow_clone()).collect();
        let run = |activations| {
            let hidden = model.hidden(&ids, None, Mode::Train { seed: 0 }, activations).unwrap();
            let loss = model.loss(&hidden, &ids, Mode::Train { seed: 0 }).unwrap().sum;
            Tensor::run_backward(&[loss], &leaves, false, false)
        };
        let again = run(Activations::Recompute { trainable: &leaves });
        assert_eq!(run(Activations::Keep), again, "{name}");
        attachment.detach(&mut model);
    }
}

#[test]
fn a_saved_model_is_the_same() {
    for name in DECODERS {
        let mut model = load(&family(name).join("model"), Kind::Float);
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path(), None).unwrap();
        let stored = tensors(&family(name).join("model/model.safetensors"));
        assert_eq!(tensors(&folder.path().join("model.safetensors")), stored, "{name}");
        assert_eq!(load(folder.path(), Kind::Float).state_dict(), model.state_dict());
    }
}

#[test]
fn a_larger_vocabulary() {
    for name in ["gpt2", "gptj"] {
        let mut model = load(&family(name).join("model"), Kind::Float);
        let ids = Tensor::from_slice2(&[[3i64, 17, 5, 30, 8]]);
        let logits = |model: &Decoder| {
            let hidden = model.hidden(&ids, None, Mode::Eval, Activations::Keep).unwrap();
            model.logits(&hidden, Mode::Eval)
        };
        let before = logits(&model);
        model.grow_vocabulary(44).unwrap();
        let after = logits(&model);
        assert_eq!(after.size()[2], 44);
        LOGITS.check(name, &after.i((.., .., ..41)), &before);
        let mean = before.mean_dim([2i64].as_slice(), true, None);
        LOGITS.check(name, &after.i((.., .., 41..)), &mean.expand([1, 5, 3], false));
        let padded = Tensor::from_slice2(&[[3i64, 17, 5, 30, 8, 43]]);
        let mask = Tensor::from_slice2(&[[1i64, 1, 1, 1, 1, 0]]);
        let hidden = model.hidden(&padded, Some(&mask), Mode::Eval, Activations::Keep).unwrap();
        LOGITS.check(name, &model.logits(&hidden, Mode::Eval).i((.., ..5)), &after);
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path(), None).unwrap();
        assert_eq!(logits(&load(folder.path(), Kind::Float)), after);

        let attachment = attach(&mut model, Everything);
        assert!(model.grow_vocabulary(50).unwrap_err().to_string().contains("before an adapter"));
        attachment.detach(&mut model);
        model.grow_vocabulary(44).unwrap();
    }
}

fn beam_settings(json: &Value) -> BeamSearch {
    let number = |key: &str| json.get(key).and_then(Value::as_i64);
    BeamSearch {
        beams: number("num_beams").unwrap() as usize,
        length_penalty: json.get("length_penalty").and_then(Value::as_f64).unwrap_or(1.0),
        stop: match json.get("early_stopping") {
            Some(Value::Bool(true)) => Stop::Full,
            Some(Value::String(never)) if never == "never" => Stop::Impossible,
            _ => Stop::Unlikely,
        },
        max_new_tokens: number("max_new_tokens").unwrap() as usize,
        end_tokens: vec![2],
        forced_last: number("forced_eos_token_id"),
        forced_first: number("forced_bos_token_id"),
    }
}

#[test]
fn beam_search() {
    const SCORE: f64 = 1e-4;
    tch::set_num_threads(1);
    let model = Seq2Seq::load(&files("bart"), None, Device::Cpu).unwrap();
    let inputs = tensors(&family("bart").join("inputs.safetensors"));
    let runs: Value =
        serde_json::from_slice(&std::fs::read(family("bart").join("beams.json")).unwrap()).unwrap();
    for run in runs.as_array().unwrap() {
        let settings = beam_settings(&run["settings"]);
        let tokens: Vec<Vec<Vec<i64>>> = serde_json::from_value(run["tokens"].clone()).unwrap();
        let scores: Vec<Vec<Option<f64>>> = serde_json::from_value(run["scores"].clone()).unwrap();
        let (ids, mask) = (&inputs["input_ids"], &inputs["attention_mask"]);
        let together = model.generate(Rows { ids, mask: Some(mask), types: None }, &settings).unwrap();
        for (row, found) in together.iter().enumerate() {
            let length = mask.get(row as i64).sum(Kind::Int64).int64_value(&[]);
            let alone = ids.narrow(0, row as i64, 1).narrow(1, 0, length);
            let alone = model.generate(Rows { ids: &alone, mask: None, types: None }, &settings).unwrap();
            for found in [found, &alone[0]] {
                let found_tokens: Vec<Vec<i64>> = found.iter().map(|h| h.tokens.clone()).collect();
                assert_eq!(found_tokens, tokens[row], "{settings:?}, row {row}");
                for (hypothesis, want) in found.iter().zip(&scores[row]) {
                    assert!(want.is_none_or(|want| (hypothesis.score - want).abs() < SCORE));
                }
            }
        }
    }
}

#[test]
fn impossible_searches_are_refused() {
    let model = Seq2Seq::load(&files("bart"), None, Device::Cpu).unwrap();
    let ids = Tensor::from_slice2(&[[5i64, 6, 7]]);
    let refused = |change: &dyn Fn(&mut BeamSearch)| {
        let mut settings = beam_settings(&serde_json::json!({ "num_beams": 2, "max_new_tokens": 4 }));
        change(&mut settings);
        model.generate(Rows { ids: &ids, mask: None, types: None }, &settings).unwrap_err().to_string()
    };
    assert!(refused(&|s| s.beams = 0).contains("beams"));
    assert!(refused(&|s| s.beams = 30).contains("only 41 tokens"));
    assert!(refused(&|s| s.max_new_tokens = 32).contains("room for 31"));
}

#[test]
fn span_heads() {
    const LOSS: Tolerance = Tolerance { atol: 1e-5, rtol: 2e-5 };
    for name in ["bert-span", "deberta-span"] {
        let mut model = SpanModel::load(&files(name), None, Device::Cpu, HeadSource::Files).unwrap();
        let inputs = tensors(&family(name).join("inputs.safetensors"));
        let expected = tensors(&family(name).join("expected.safetensors"));
        let (ids, mask, types) = (&inputs["input_ids"], &inputs["attention_mask"], &inputs["token_type_ids"]);
        let rows = Rows { ids, mask: Some(mask), types: Some(types) };
        let logits = model.logits(rows, Mode::Eval, Activations::Keep).unwrap();
        for (got, want) in logits.iter().zip(["start", "end"]) {
            let tokens = |t: &Tensor| at_tokens(&t.unsqueeze(2), mask);
            LOGITS.check(name, &tokens(got), &tokens(&expected[want]));
        }
        // The end of the last row lies outside it: transformers takes the mean over the rows that it scores, here over
        // both starts and one end.
        let whole = |t: &Tensor| t.index_select(0, &Tensor::from_slice(&[0i64, 2]));
        let logits = [whole(&logits[0]), whole(&logits[1])];
        let (start, end) = (whole(&inputs["start"]), whole(&inputs["end"]));
        let outside = Tensor::full([2], 99, (Kind::Int64, Device::Cpu));
        let starts = model.loss(&logits, [&start, &outside]);
        let ends = model.loss(&logits, [&outside, &end]);
        let both = model.loss(&logits, [&start, &end]);
        LOSS.check(name, &(&starts + &ends), &both);
        let mean = starts / 2.0 + ends;
        LOSS.check(name, &mean, &expected["loss"]);

        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path(), None).unwrap();
        let again = SpanModel::load(
            &ModelFiles::Folder(folder.path().to_owned()),
            None,
            Device::Cpu,
            HeadSource::Files,
        );
        assert_eq!(again.unwrap().state_dict(), model.state_dict());
    }
}

/// A checkpoint with another head gives its body to a new one.
#[test]
fn fresh_heads() {
    let seeds = Seeds::new(0);
    let fresh = |labels| HeadSource::Fresh { labels, seeds: &seeds };
    let load = |head| models::Classifier::load(&files("bert-span"), None, Device::Cpu, head);
    let error = load(HeadSource::Files).unwrap_err().to_string();
    assert!(error.contains("classifier.weight") && error.contains("qa_outputs.weight"), "{error}");
    let mut model = load(fresh(5)).unwrap();
    assert_eq!(model.labels(), 5);
    let mut span = SpanModel::load(&files("bert-span"), None, Device::Cpu, HeadSource::Files).unwrap();
    let (new, old) = (model.state_dict(), span.state_dict());
    for (name, tensor) in old.iter().filter(|(name, _)| name.starts_with("bert.")) {
        assert_eq!(tensor, &new[name], "{name}");
    }
    assert_eq!(new["classifier.weight"].size(), [5, 16]);
    assert_eq!(load(fresh(5)).unwrap().state_dict(), new);
    assert_eq!(model.linears().iter().filter(|linear| linear.is_head()).count(), 1);

    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path(), None).unwrap();
    let stored = ModelFiles::Folder(folder.path().to_owned());
    let mut again = models::Classifier::load(&stored, None, Device::Cpu, HeadSource::Files).unwrap();
    assert_eq!((again.labels(), again.state_dict()), (5, new));
    assert_eq!(again.config().json()["architectures"][0], "BertForSequenceClassification");

    // A decoder classifies by the last token of a row.
    let decoder = models::Classifier::load(&files("qwen3"), None, Device::Cpu, fresh(1)).unwrap();
    let rows = Tensor::from_slice2(&[[5i64, 6, 7, 0], [8, 9, 10, 11]]);
    let mask = Tensor::from_slice2(&[[1i64, 1, 1, 0], [1, 1, 1, 1]]);
    let score = |ids: &Tensor, mask| {
        decoder.logits(Rows { ids, mask, types: None }, Mode::Eval, Activations::Keep).unwrap()
    };
    let both = score(&rows, Some(&mask));
    LOGITS.check("alone", &score(&rows.i((..1, ..3)), None), &both.i(..1));
}
