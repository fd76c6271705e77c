//! Checkpoints in 4 bits, as bitsandbytes writes them.

mod common;

use common::{GOLDEN, golden, tensors};
use models::{Activations, Decoder, ModelFiles};
use peft_core::nf4::STATE_SUFFIX;
use peft_core::tensor_file::{self, Metadata};
use peft_core::{Adaptable, Error, FrozenWeight, Mode, Nf4, Result, StateDict, Storage};
use tch::{Device, Kind, Tensor};

/// The golden model with its projections in `format`, after `change`.
fn stored(format: Nf4, change: impl FnOnce(&mut StateDict)) -> tempfile::TempDir {
    let (folder, original) = (tempfile::tempdir().unwrap(), golden(GOLDEN[1]).join("model"));
    std::fs::copy(original.join("config.json"), folder.path().join("config.json")).unwrap();
    let mut all = StateDict::new();
    for (name, tensor) in tensors(&original.join("model.safetensors")) {
        if name.ends_with("_proj.weight") {
            let weight = format.quantize(&tensor);
            all.extend(weight.stored().into_iter().map(|(suffix, part)| (format!("{name}{suffix}"), part)));
        } else {
            all.insert(name, tensor);
        }
    }
    change(&mut all);
    tensor_file::write(&folder.path().join("model.safetensors"), &all, &Metadata::new()).unwrap();
    folder
}

fn load(folder: &std::path::Path) -> Result<Decoder> {
    Decoder::load(&ModelFiles::Folder(folder.to_owned()), Some(Kind::Float), Device::Cpu)
}

fn logits(model: &Decoder) -> Tensor {
    let ids = Tensor::from_slice2(&[[3i64, 17, 5, 30, 8]]);
    let hidden = model.hidden(&ids, None, Mode::Eval, Activations::Keep).unwrap();
    model.logits(&hidden, Mode::Eval)
}

#[test]
fn the_model_computes_with_what_the_codes_stand_for() {
    for format in [Nf4::PLAIN, Nf4::DOUBLE] {
        let folder = stored(format, |_| ());
        let mut read = load(folder.path()).unwrap();
        assert!(
            read.linears().iter().filter(|linear| !linear.is_head()).all(|l| l.frozen().as_dense().is_none())
        );
        let mut rounded = load(&golden(GOLDEN[1]).join("model")).unwrap();
        rounded.store(&format as &dyn Storage);
        assert_eq!(logits(&read), logits(&rounded));
    }
}

#[test]
fn what_is_wrong_with_one_is_named() {
    const WEIGHT: &str = "model.layers.1.mlp.up_proj.weight";
    let lacking = stored(Nf4::PLAIN, |all| drop(all.remove(&format!("{WEIGHT}.absmax"))));
    let error = load(lacking.path()).unwrap_err().to_string();
    assert!(error.contains(&format!("without `{WEIGHT}.absmax`")), "{error}");
    let dense = stored(Nf4::PLAIN, |all| drop(all.remove(&format!("{WEIGHT}{STATE_SUFFIX}"))));
    let Err(Error::StateDict { unexpected, mismatched, .. }) = load(dense.path()) else {
        panic!("it loaded")
    };
    assert!(mismatched[0].starts_with(WEIGHT), "{mismatched:?}");
    assert_eq!(unexpected, [format!("{WEIGHT}.absmax"), format!("{WEIGHT}.quant_map")]);
}
