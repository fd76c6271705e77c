//! The fused loss against logits and libtorch's cross entropy, and its gradients wherever they go.

mod common;

use common::{Everything, GOLDEN, Tolerance, attach, golden, load, random_ids};
use models::{Activations, Decoder, IGNORED, Loss, ModelConfig};
use peft_core::{Mode, Seeds};
use tch::{Device, IndexOp, Kind, Tensor};

const MODE: Mode = Mode::Train { seed: 0 };

/// By the definition.
fn plain(model: &Decoder, hidden: &Tensor, labels: &Tensor) -> Tensor {
    let logits = model.logits(hidden, MODE).to_kind(Kind::Double);
    let length = labels.size()[1];
    let flat = logits.i((.., ..length - 1)).reshape([-1, logits.size()[2]]);
    let targets = labels.i((.., 1..)).reshape(-1);
    flat.cross_entropy_loss(&targets, None::<&Tensor>, tch::Reduction::Sum, IGNORED, 0.0)
}

fn labels(ids: &Tensor) -> Tensor {
    let labels = ids.copy();
    let _ = labels.i((.., ..5)).fill_(IGNORED);
    let _ = labels.i((1, 12..)).fill_(IGNORED);
    labels
}

fn check(model: &Decoder, leaves: &[Tensor], tolerance: Tolerance) {
    let ids = random_ids(model, 3, 300.min(model.context()));
    let labels = labels(&ids);
    let hidden = model.hidden(&ids, None, MODE, Activations::Keep).unwrap();
    let all = |loss: Tensor| {
        // An outer factor must reach the gradients that were formed in forward.
        let inputs: Vec<&Tensor> = leaves.iter().collect();
        let mut all = Tensor::run_backward(&[&loss * 0.5], &inputs, true, false);
        all.push(loss.detach());
        all
    };
    let Loss { sum, tokens } = model.loss(&hidden, &labels, MODE).unwrap();
    assert_eq!(tokens, labels.i((.., 1..)).ne(IGNORED).sum(Kind::Int64).int64_value(&[]));
    for (a, b) in all(sum).iter().zip(all(plain(model, &hidden, &labels))) {
        tolerance.check("loss and gradients", a, &b);
    }
}

const F64: Tolerance = Tolerance { atol: 1e-12, rtol: 1e-10 };
const F32: Tolerance = Tolerance { atol: 1e-5, rtol: 3e-4 };

#[test]
fn gradients_of_a_tied_and_an_own_head() {
    for name in GOLDEN {
        let mut model = load(&golden(name).join("model"), Kind::Float);
        let attachment = attach(&mut model, Everything);
        let leaves: Vec<Tensor> =
            attachment.store().training().map(|(_, entry)| entry.tensor.shallow_clone()).collect();
        assert!(!leaves.is_empty());
        check(&model, &leaves, F32);
    }
}

/// Several chunks of rows, the last one shorter.
#[test]
fn a_frozen_head_in_many_chunks() {
    let json = serde_json::json!({
        "model_type": "llama", "vocab_size": 500, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 300, "initializer_range": 0.5,
    });
    let config = ModelConfig::parse(json.as_object().unwrap().clone()).unwrap();
    let model = Decoder::random(&config, &Seeds::new(0), Kind::Double, Device::Cpu).unwrap();
    let ids = random_ids(&model, 3, 300);
    let hidden = model.hidden(&ids, None, MODE, Activations::Keep).unwrap().set_requires_grad(true);
    let labels = labels(&ids);
    let gradient = |loss: Tensor| Tensor::run_backward(&[loss], &[&hidden], false, false).remove(0);
    let sum = model.loss(&hidden, &labels, MODE).unwrap().sum;
    F64.check("sum", &sum.detach(), &plain(&model, &hidden, &labels).detach());
    F64.check("gradient", &gradient(sum), &gradient(plain(&model, &hidden, &labels)));
}

#[test]
fn wrong_labels_are_refused() {
    let model = load(&golden(GOLDEN[0]).join("model"), Kind::Float);
    let ids = random_ids(&model, 2, 6);
    let hidden = model.hidden(&ids, None, Mode::Eval, Activations::Keep).unwrap();
    let refused = |labels: &Tensor| model.loss(&hidden, labels, Mode::Eval).unwrap_err().to_string();
    assert!(refused(&(&ids + 41)).contains("must be -100 or in 0..41"));
    assert!(refused(&ids.i((.., ..5))).contains("the hidden states have the shape [2, 6, 16]"));
    let none = model.loss(&hidden, &ids.full_like(IGNORED), Mode::Eval).unwrap();
    assert_eq!((none.tokens, none.sum.double_value(&[])), (0, 0.0));
}
