//! Recomputing blocks in backward gives the same numbers, bit for bit, dropout included.
//!
//! One test to a file: dropout reseeds libtorch's generator, which all tests of a process share.

mod common;

use common::{GOLDEN, attach, golden, load, random_ids};
use models::{Activations, Decoder};
use peft_core::{
    Adaptable, Attached, Attachment, Gradients, LowRank, Method, Mode, Params, Place, Result, Role, init,
};
use tch::{Kind, Tensor};

/// LoRA with both factors away from zero and dropout on its input.
#[derive(Debug)]
struct Lora;

impl Method for Lora {
    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        let shape = place.site.shape;
        let draw = |size: [i64; 2], name| init::normal(&size, 0.1, &mut params.rng(name), params.device());
        let (a, b) = (draw([3, shape.in_features], "a"), draw([shape.out_features, 3], "b"));
        let a = params.trainable("lora_A.weight", Role::Down, &a)?;
        let b = params.trainable("lora_B.weight", Role::Up, &b)?;
        let mut update = LowRank::new(a.tensor(), b.tensor(), 2.0);
        update.dropout = Some(peft_core::low_rank::Dropout { p: 0.3, salt: place.site.index as u64 });
        Ok(Attached::new(update))
    }
}

fn step(model: &Decoder, attachment: &Attachment, recompute: bool, seed: u64) -> (f64, Vec<Tensor>) {
    tch::manual_seed(7);
    let ids = random_ids(model, 4, 30);
    let mask = Tensor::ones_like(&ids);
    let _ = mask.narrow(0, 1, 1).narrow(1, 0, 6).fill_(0); // padding before: the masked path
    let trainable: Vec<Tensor> =
        attachment.store().training().map(|(_, entry)| entry.tensor.shallow_clone()).collect();
    let activations =
        if recompute { Activations::Recompute { trainable: &trainable } } else { Activations::Keep };
    let mode = Mode::Train { seed };
    let mut all = Vec::new();
    let mut total = 0.0;
    for mask in [None, Some(&mask)] {
        let hidden = model.hidden(&ids, mask, mode, activations).unwrap();
        let loss = model.loss(&hidden, &ids, mode).unwrap().sum;
        let mut gradients = Gradients::default();
        gradients.accumulate(&loss, attachment.store(), &[]).unwrap();
        total += loss.double_value(&[]);
        all.extend(gradients.iter().map(|(_, gradient)| gradient.shallow_clone()));
    }
    (total, all)
}

#[test]
fn recomputation_is_exact() {
    for name in GOLDEN {
        let mut model = load(&golden(name).join("model"), Kind::Float);
        let attachment = attach(&mut model, Lora);
        let (loss, gradients) = step(&model, &attachment, false, 1);
        assert_eq!(gradients.len(), 2 * attachment.store().training().count());
        assert!(gradients.iter().all(|g| g.abs().max().double_value(&[]) > 0.0));
        let (again, recomputed) = step(&model, &attachment, true, 1);
        assert_eq!(loss, again);
        assert_eq!(gradients, recomputed);
        assert_ne!(step(&model, &attachment, false, 2).0, loss, "dropout is on");
        // The graph of recomputation is gone with its backward, so the model can change.
        attachment.detach(&mut model);
        assert_eq!(model.linears()[0].adapters().count(), 0);
    }
}
