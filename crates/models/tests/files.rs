//! Reading and writing Hugging Face folders, and what is wrong with them.

mod common;

use std::path::Path;

use common::{Everything, GOLDEN, attach, golden, load, random_ids, tensors};
use models::{Activations, Builtin, Decoder, ModelConfig, ModelFiles, ModelSource};
use peft_core::tensor_file::{self, Metadata};
use peft_core::{Active, Adaptable, Error, Mode, Seeds, StateDict};
use tch::{Device, Kind, Tensor};

const HEAD: &str = "lm_head.weight";
const EMBEDDING: &str = "model.embed_tokens.weight";

/// A copy of the tied golden model with other tensors.
fn altered(change: impl FnOnce(&mut StateDict)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let original = golden(GOLDEN[0]).join("model");
    std::fs::copy(original.join("config.json"), folder.path().join("config.json")).unwrap();
    let mut all = tensors(&original.join("model.safetensors"));
    change(&mut all);
    tensor_file::write(&folder.path().join("model.safetensors"), &all, &Metadata::new()).unwrap();
    folder
}

fn try_load(folder: &Path) -> Result<Decoder, Error> {
    Decoder::load(&ModelFiles::Folder(folder.to_owned()), None, Device::Cpu)
}

fn logits(model: &Decoder) -> Tensor {
    let ids = Tensor::from_slice2(&[[3i64, 17, 5, 30, 8]]);
    let hidden = model.hidden(&ids, None, Mode::Eval, Activations::Keep).unwrap();
    model.logits(&hidden, Mode::Eval)
}

#[test]
fn every_wrong_tensor_is_named() {
    let folder = altered(|all| {
        all.remove("model.norm.weight");
        all.insert("model.layers.2.mlp.up_proj.weight".into(), Tensor::ones([1], (Kind::Float, Device::Cpu)));
        all.insert(
            "model.layers.0.self_attn.rotary_emb.inv_freq".into(),
            Tensor::ones([3], (Kind::Float, Device::Cpu)),
        );
        let q = all["model.layers.1.self_attn.q_proj.weight"].tr().contiguous();
        all.insert("model.layers.1.self_attn.q_proj.weight".into(), q);
    });
    let Err(Error::StateDict { missing, unexpected, mismatched, .. }) = try_load(folder.path()) else {
        panic!()
    };
    assert_eq!(missing, ["model.norm.weight"]);
    assert_eq!(unexpected, ["model.layers.2.mlp.up_proj.weight"]);
    assert_eq!(
        mismatched,
        ["model.layers.1.self_attn.q_proj.weight: expected shape [24, 16], found [16, 24]"]
    );
}

#[test]
fn a_tied_tensor_under_either_name() {
    let want = logits(&load(&golden(GOLDEN[0]).join("model"), Kind::Float));
    let as_head = altered(|all| {
        let shared = all.remove(EMBEDDING).unwrap();
        all.insert(HEAD.into(), shared);
    });
    assert_eq!(logits(&try_load(as_head.path()).unwrap()), want);
    let twice = altered(|all| drop(all.insert(HEAD.into(), all[EMBEDDING].copy())));
    assert_eq!(logits(&try_load(twice.path()).unwrap()), want);
    let different = altered(|all| drop(all.insert(HEAD.into(), &all[EMBEDDING] * 2.0)));
    let error = try_load(different.path()).unwrap_err().to_string();
    assert!(error.contains("lm_head.weight: differs from `model.embed_tokens.weight`"), "{error}");
    let neither = altered(|all| drop(all.remove(EMBEDDING)));
    let Err(Error::StateDict { missing, .. }) = try_load(neither.path()) else { panic!() };
    assert_eq!(missing, [EMBEDDING]);
}

#[test]
fn shards() {
    let folder = altered(|_| ());
    let want = logits(&try_load(folder.path()).unwrap());
    let path = |name: &str| folder.path().join(name);
    let all = tensors(&path("model.safetensors"));
    std::fs::remove_file(path("model.safetensors")).unwrap();
    let (mut first, mut second) = (StateDict::new(), StateDict::new());
    let mut map = serde_json::Map::new();
    for (i, (name, tensor)) in all.into_iter().enumerate() {
        let (shard, file) =
            if i % 2 == 0 { (&mut first, "a.safetensors") } else { (&mut second, "b.safetensors") };
        map.insert(name.clone(), file.into());
        shard.insert(name, tensor);
    }
    tensor_file::write(&path("a.safetensors"), &first, &Metadata::new()).unwrap();
    tensor_file::write(&path("b.safetensors"), &second, &Metadata::new()).unwrap();
    let index = serde_json::json!({ "weight_map": map });
    std::fs::write(path("model.safetensors.index.json"), index.to_string()).unwrap();
    assert_eq!(logits(&try_load(folder.path()).unwrap()), want);

    let bytes = std::fs::read(path("b.safetensors")).unwrap();
    std::fs::write(path("b.safetensors"), &bytes[..bytes.len() - 10]).unwrap();
    let error = try_load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("b.safetensors") && error.contains("truncated"), "{error}");
    std::fs::remove_file(path("b.safetensors")).unwrap();
    let error = try_load(folder.path()).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("b.safetensors")), "{error}");
    let (lost, _) = second.pop_first().unwrap();
    tensor_file::write(&path("b.safetensors"), &second, &Metadata::new()).unwrap();
    let error = try_load(folder.path()).unwrap_err().to_string();
    assert!(error.contains(&lost) && error.contains("b.safetensors"), "{error}");
}

#[test]
fn absent_and_foreign_files() {
    let folder = tempfile::tempdir().unwrap();
    let error = try_load(folder.path()).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("config.json")), "{error}");
    std::fs::copy(golden(GOLDEN[0]).join("model/config.json"), folder.path().join("config.json")).unwrap();
    let error = try_load(folder.path()).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("model.safetensors")), "{error}");
    std::fs::write(folder.path().join("pytorch_model.bin"), "x").unwrap();
    let error = try_load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("pytorch_model.bin is not supported") && error.contains("pickle"), "{error}");
    std::fs::write(folder.path().join("config.json"), "{").unwrap();
    assert!(matches!(try_load(folder.path()), Err(Error::Format { .. })));
}

#[test]
fn configs() {
    let parse = |change: serde_json::Value| {
        let mut json = serde_json::json!({
            "model_type": "llama", "vocab_size": 10, "hidden_size": 8, "intermediate_size": 8,
            "num_hidden_layers": 1, "num_attention_heads": 2,
        });
        json.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        ModelConfig::parse(json.as_object().unwrap().clone())
    };
    assert_eq!(parse(serde_json::json!({})).unwrap().decoder().unwrap().stack.attention.head_dim, 4);
    let error = parse(serde_json::json!({"model_type": "lama"})).unwrap_err();
    assert_eq!(error.to_string(), "unknown model type `lama`");
    assert_eq!(error.hint().unwrap(), "did you mean `llama`?");
    for (change, message) in [
        (serde_json::json!({"hidden_act": "mish"}), "`hidden_act = mish`"),
        (serde_json::json!({"num_key_value_heads": 3}), "must divide the 2 query heads"),
        (serde_json::json!({"hidden_size": 6}), "`head_dim = 3`"),
        (serde_json::json!({"vocab_size": 0}), "`vocab_size = 0`"),
        (serde_json::json!({"rope_scaling": {"type": "yarn"}}), "`rope_type = yarn`"),
        (serde_json::json!({"rope_parameters": {"rope_type": "linear"}}), "rope.factor"),
        (serde_json::json!({"quantization_config": {"bits": 4}}), "quantized"),
        (serde_json::json!({"hidden_size": "8"}), "invalid type"),
    ] {
        let error = parse(change).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let legacy = parse(serde_json::json!({"rope_theta": 5.0, "rope_scaling": null})).unwrap();
    let current =
        parse(serde_json::json!({"rope_parameters": {"rope_type": "default", "rope_theta": 5.0}})).unwrap();
    assert_eq!(legacy.decoder().unwrap(), current.decoder().unwrap());
}

#[test]
fn sources() {
    let folder = altered(|_| ());
    let path = folder.path().to_str().unwrap();
    let on_disk = path.parse::<ModelSource>().unwrap().files(&[]).unwrap();
    let bytes = |name: &str| -> &'static [u8] { on_disk.find(name).unwrap().unwrap().into_owned().leak() };
    let files =
        vec![("config.json", bytes("config.json")), ("model.safetensors", bytes("model.safetensors"))];
    let builtin = [Builtin { name: "tiny", files }];
    let inside = "builtin:tiny".parse::<ModelSource>().unwrap().files(&builtin).unwrap();
    let [a, b] = [on_disk, inside].map(|files| logits(&Decoder::load(&files, None, Device::Cpu).unwrap()));
    assert_eq!(a, b);
    let error = "builtin:tyni".parse::<ModelSource>().unwrap().files(&builtin).unwrap_err();
    assert_eq!(error.hint().unwrap(), "did you mean `tiny`?");
    assert_eq!("hf:meta/llama".parse::<ModelSource>().unwrap().to_string(), "hf:meta/llama@main");
    assert!("hf:meta/llama/3".parse::<ModelSource>().is_err());
    assert!("/no/such/folder".parse::<ModelSource>().unwrap().files(&[]).is_err());
}

#[test]
fn saved_and_loaded_again() {
    for name in GOLDEN {
        let mut model = load(&golden(name).join("model"), Kind::Float);
        let want = logits(&model);
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path(), None).unwrap();
        assert_eq!(logits(&try_load(folder.path()).unwrap()), want);

        // The active adapter is written into the weights; without it the base is written.
        let attachment = attach(&mut model, Everything);
        tch::no_grad(|| {
            for (_, entry) in attachment.store().training() {
                let _ = entry.tensor.shallow_clone().g_mul_scalar_(1.1);
            }
        });
        let tuned = logits(&model).detach();
        assert_ne!(tuned, want);
        model.save(folder.path(), None).unwrap();
        assert_eq!(logits(&try_load(folder.path()).unwrap()), tuned);
        model.activate(&Active::None);
        model.save(folder.path(), None).unwrap();
        assert_eq!(logits(&try_load(folder.path()).unwrap()), want);
    }
}

#[test]
fn fresh_weights_depend_on_their_names_and_seed() {
    let config = ModelConfig::load(&ModelFiles::Folder(golden(GOLDEN[0]).join("model"))).unwrap();
    let fresh = |seed| Decoder::random(&config, &Seeds::new(seed), Kind::Float, Device::Cpu).unwrap();
    let (mut a, mut b) = (fresh(0), fresh(0));
    assert_eq!(a.state_dict(), b.state_dict());
    assert_ne!(logits(&fresh(0)), logits(&fresh(1)));
    let embedding = &a.state_dict()[EMBEDDING];
    // 656 draws of N(0, 0.3²): the deviation is within 10 %.
    assert!((embedding.std(true).double_value(&[]) / 0.3 - 1.0).abs() < 0.1);
}

#[test]
fn an_outline_has_shapes_and_names_only() {
    let config = ModelConfig::load(&ModelFiles::Folder(golden(GOLDEN[1]).join("model"))).unwrap();
    let mut outline = Decoder::outline(&config).unwrap();
    let mut loaded = load(&golden(GOLDEN[1]).join("model"), Kind::Float);
    let describe = |model: &mut Decoder| -> Vec<_> {
        model.linears().iter().map(|l| (l.name().to_owned(), l.shape(), l.is_head())).collect()
    };
    assert_eq!(describe(&mut outline), describe(&mut loaded));
    assert_eq!(describe(&mut outline).len(), 15);
    let stored: usize = loaded.state_dict().values().map(Tensor::numel).sum();
    assert_eq!(outline.count_parameters(), stored as u64);
}

/// The order in which transformers lists the parameters.
#[test]
fn parts_come_in_the_order_of_transformers() {
    let mut model = load(&golden(GOLDEN[1]).join("model"), Kind::Float);
    let names: Vec<String> = model.linears().iter().map(|l| l.name().to_owned()).collect();
    let layer = [
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    ];
    let mut want: Vec<String> =
        (0..2).flat_map(|i| layer.map(|leaf| format!("model.layers.{i}.{leaf}"))).collect();
    want.push("lm_head".to_owned());
    assert_eq!(names, want);
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let model = load(&golden(GOLDEN[0]).join("model"), Kind::Float);
    let hidden = |ids: &Tensor, mask: Option<&Tensor>| {
        model.hidden(ids, mask, Mode::Eval, Activations::Keep).unwrap_err().to_string()
    };
    assert!(hidden(&random_ids(&model, 1, 65), None).contains("context is 64"));
    let ids = random_ids(&model, 2, 5);
    assert!(hidden(&ids, Some(&ids.narrow(1, 0, 4))).contains("attention_mask"));
    assert!(hidden(&ids.get(0), None).contains("expected tokens of shape"));
    assert!(hidden(&(ids + 41), None).contains("libtorch"));
}
