//! Hidden states, logits, losses and gradients are those of transformers.

mod common;

use std::path::Path;

use common::{Everything, GOLDEN, Tolerance, attach, golden, load, shared, tensors};
use models::{Activations, Decoder, PositionConfig};
use peft_core::{Gradients, Mode, StateDict};
use tch::{IndexOp, Kind, Tensor};

/// The tolerances of the parity cases; 25 times the distance of transformers' own f32 from f64.
const HIDDEN: Tolerance = Tolerance { atol: 1e-5, rtol: 5e-5 };
const LOSS: Tolerance = Tolerance { atol: 1e-5, rtol: 2e-5 };
const GRADIENT: Tolerance = Tolerance { atol: 1e-6, rtol: 3e-4 };

struct Case {
    model: Decoder,
    ids: Tensor,
    mask: Tensor,
    labels: Tensor,
    expected: StateDict,
}

fn case(folder: &Path, inputs: &str) -> Case {
    let inputs = tensors(&folder.join(inputs));
    let two = |name: &str| inputs[name].view([-1, *inputs[name].size().last().unwrap()]);
    Case {
        model: load(&folder.join("model"), Kind::Float),
        ids: two("input_ids"),
        mask: two("attention_mask"),
        labels: two("labels"),
        expected: tensors(&folder.join("expected.safetensors")),
    }
}

/// `x [B, T, ..]` where the mask is 1.
fn at_tokens(x: &Tensor, mask: &Tensor) -> Tensor {
    let mask = mask.view(-1).to_kind(Kind::Bool);
    x.view([mask.size()[0], -1]).index(&[Some(&mask)])
}

fn check(case: &mut Case) {
    let Case { model, ids, mask, labels, expected } = case;
    let want = |name: &str| {
        let tensor = &expected[name];
        if tensor.size().first() == Some(&1) && tensor.dim() > 2 {
            tensor.squeeze_dim(0)
        } else {
            tensor.shallow_clone()
        }
    };
    let states = model.hidden_states(ids, Some(mask), Mode::Eval).unwrap();
    for (i, state) in states.iter().enumerate() {
        let name = format!("hidden.{i}");
        HIDDEN.check(&name, &at_tokens(state, mask), &at_tokens(&want(&name), mask));
    }
    assert!(!expected.contains_key(&format!("hidden.{}", states.len())));

    let hidden = model.hidden(ids, Some(mask), Mode::Eval, Activations::Keep).unwrap();
    assert_eq!(hidden, states[states.len() - 1]);
    let logits = model.logits(&hidden, Mode::Eval);
    HIDDEN.check("logits", &at_tokens(&logits, mask), &at_tokens(&want("logits"), mask));
    assert!(logits.isfinite().all().int64_value(&[]) == 1, "padded positions stay finite");

    let attachment = attach(model, Everything);
    for activations in [Activations::Keep, Activations::Recompute { trainable: &trainable(&attachment) }] {
        let mode = Mode::Train { seed: 0 };
        let hidden = model.hidden(ids, Some(mask), mode, activations).unwrap();
        let loss = model.loss(&hidden, labels, mode).unwrap();
        let mean = &loss.sum / loss.tokens as f64;
        LOSS.check("loss", &mean.view(-1), &expected["loss"].view(-1));
        let mut gradients = Gradients::default();
        gradients.accumulate(&mean, attachment.store(), &[]).unwrap();
        let mut count = 0;
        for (id, gradient) in gradients.iter() {
            let name = &attachment.store().entry(id).name;
            match expected.get(&format!("grad.{name}")) {
                Some(want) => GRADIENT.check(name, gradient, want),
                None => {
                    GRADIENT.check(name, &gradient.norm(), &expected[&format!("grad_norm.{name}")].view([]));
                }
            }
            count += 1;
        }
        let wanted = expected.keys().filter(|name| name.starts_with("grad")).count();
        assert_eq!(count, wanted, "every parameter has a gradient");
    }
    attachment.detach(model);
}

fn trainable(attachment: &peft_core::Attachment) -> Vec<Tensor> {
    attachment.store().training().map(|(_, entry)| entry.tensor.shallow_clone()).collect()
}

#[test]
fn golden_cases() {
    for name in GOLDEN {
        check(&mut case(&golden(name), "inputs.safetensors"));
    }
}

#[test]
fn parity_cases() {
    for name in [
        "model-llama",
        "model-llama3-tied",
        "model-mistral-window",
        "model-qwen2",
        "model-qwen3",
        "model-gemma2",
        "model-gpt2",
        "model-gptj",
        "model-opt",
    ] {
        let Some(folder) = shared(&format!("parity/{name}")) else { return };
        check(&mut case(&folder, "batches.safetensors"));
    }
}

#[test]
fn frequencies() {
    for name in GOLDEN {
        let case = case(&golden(name), "inputs.safetensors");
        let PositionConfig::Rotary(rotary) = &case.model.shape().stack.positions else { panic!() };
        let frequencies = Tensor::from_slice(&rotary.frequencies());
        Tolerance { atol: 0.0, rtol: 1e-6 }.check(name, &frequencies, &case.expected["inv_freq"]);
    }
}

/// bf16 keeps 8 bits: two orders of rounding differ by a few 2⁻⁸ of the largest logit.
#[test]
fn bf16_is_as_far_from_f32_as_transformers_bf16() {
    for name in GOLDEN {
        let mut case = case(&golden(name), "inputs.safetensors");
        case.model = load(&golden(name).join("model"), Kind::BFloat16);
        let hidden = case.model.hidden(&case.ids, Some(&case.mask), Mode::Eval, Activations::Keep).unwrap();
        let logits = case.model.logits(&hidden, Mode::Eval).to_kind(Kind::Float);
        let [ours, theirs, exact] = [&logits, &case.expected["bf16_logits"], &case.expected["logits"]]
            .map(|t| at_tokens(t, &case.mask));
        let distance = |a: &Tensor, b: &Tensor| ((a - b).norm() / exact.norm()).double_value(&[]);
        assert!(distance(&ours, &exact) <= 1.5 * distance(&theirs, &exact), "{name}");
        assert!(distance(&ours, &theirs) <= 0.02, "{name}: {}", distance(&ours, &theirs));
    }
}

/// Rows with padding before, after or in a longer batch compute the same.
#[test]
fn padding_changes_nothing() {
    for name in GOLDEN {
        let case = case(&golden(name), "inputs.safetensors");
        let row = case.ids.i((..1, ..9));
        let hidden = |ids: &Tensor, mask: Option<&Tensor>| {
            case.model.hidden(ids, mask, Mode::Eval, Activations::Keep).unwrap()
        };
        let alone = hidden(&row, None);
        let other = case.ids.i((1..2, ..14));
        for (padding, at) in [([0, 5], 0), ([5, 0], 5)] {
            let padded = row.constant_pad_nd(padding);
            let ids = Tensor::cat(&[&padded, &other], 0);
            let mask = Tensor::cat(&[&row.ones_like().constant_pad_nd(padding), &other.ones_like()], 0);
            let both = hidden(&ids, Some(&mask));
            HIDDEN.check(name, &both.i((..1, at..at + 9)), &alone);
            assert!(both.isfinite().all().int64_value(&[]) == 1);
        }
    }
}
