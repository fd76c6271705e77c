//! What can be done with a method's adapters, found by trying.

use tch::{Kind, Tensor};

use peft_core::{Active, Adaptable, AdaptedLinear, AsLoaded, Capabilities, Delta, MethodInfo, Mode, Storage};

use crate::{Rounded, Tolerance, Toy, Trained};

const STEPS: u64 = 6;
const ROWS: i64 = 64;

/// Tries everything that [`Capabilities`] tells of `info` with `settings`, without looking at what it declares.
///
/// # Panics
/// If the method cannot be trained at all.
pub fn probe(info: &MethodInfo, settings: &toml::Table, find: &dyn Fn(&str) -> MethodInfo) -> Capabilities {
    let run =
        |storage: &dyn Storage, steps| Trained::run(info, settings, find, (Kind::Float, storage), steps, 0);
    let plain = |steps| run(&AsLoaded, steps).unwrap_or_else(|error| panic!("{}: {error}", info.name));
    Capabilities {
        merge: merges(plain(STEPS)),
        quantized_base: run(&Rounded, STEPS).is_ok_and(stands_on_stored_weights),
        lora_export: is_low_rank(plain(STEPS)),
        identity_at_start: starts_as_the_base(plain(0)),
    }
}

fn output(toy: &Toy) -> Tensor {
    toy.forward(&toy.input(ROWS), Mode::Eval)
}

/// The merged model computes the same, and is no longer the base.
fn merges(mut run: Trained) -> bool {
    let adapted = output(&run.toy);
    run.toy.merge();
    let merged = output(&run.toy);
    run.toy.activate(&Active::None);
    let base = output(&run.toy);
    Tolerance::F32.check(&merged, &adapted).is_ok() && Tolerance::F32.check(&merged, &base).is_err()
}

/// Beneath every adapter lies what the storage made of a weight, not the weight itself.
fn stands_on_stored_weights(mut run: Trained) -> bool {
    let mut original = Toy::new(Kind::Float);
    let name = run.attachment.name().to_owned();
    let pairs: Vec<(Tensor, Tensor, bool)> = run
        .toy
        .linears()
        .iter()
        .zip(original.linears())
        .map(|(stored, original)| {
            let adapted = stored.adapter(&name).is_some();
            (stored.frozen().dense(), original.frozen().dense(), adapted)
        })
        .collect();
    pairs.iter().all(|(stored, original, adapted)| {
        *adapted && Rounded.round_trip(stored) == *stored && stored != original
    })
}

/// The update of every layer is a product of two factors.
fn is_low_rank(mut run: Trained) -> bool {
    let name = run.attachment.name().to_owned();
    let exact = |linear: &&mut AdaptedLinear| {
        let factors = linear.adapter(&name).and_then(|a| a.as_delta()).and_then(Delta::factors);
        factors.is_some_and(|(b, a)| {
            let exported = linear.frozen().dense().to_kind(a.kind()) + b.matmul(&a);
            Tolerance::F32.check(&exported, &linear.effective_weight()).is_ok()
        })
    };
    run.toy.linears().iter().all(exact)
}

fn starts_as_the_base(mut run: Trained) -> bool {
    let adapted = output(&run.toy);
    run.toy.activate(&Active::None);
    Tolerance::F32.check(&adapted, &output(&run.toy)).is_ok()
}
