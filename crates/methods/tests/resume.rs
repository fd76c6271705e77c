//! A run of every method that goes on from a checkpoint ends with the bits of one that never stopped, wherever it stopped;
//! and the law that says so can fail.

mod common;

use std::cell::Cell;

use common::settings_with_phases;
use methods::{METHODS, find};
use peft_core::{AsLoaded, Checkpoint, MethodInfo, Nf4, Storage};
use peft_testkit::Bench;
use tch::Kind;

fn bench<'a>(
    info: &MethodInfo,
    settings: &'a toml::Table,
    find: &'a dyn Fn(&str) -> MethodInfo,
    storage: &'a dyn Storage,
) -> Bench<'a> {
    Bench { info: *info, settings, find, kind: Kind::Float, storage }
}

fn check<'a>(methods: impl Iterator<Item = &'a MethodInfo>, storage: &dyn Storage) {
    let by_name = |name: &str| *find(name).unwrap();
    for info in methods {
        for settings in settings_with_phases(info) {
            bench(info, &settings, &by_name, storage).resumes_bit_for_bit();
        }
    }
}

#[test]
fn every_method_on_a_dense_base() {
    check(METHODS.iter(), &AsLoaded);
}

#[test]
fn every_method_on_nf4() {
    check(METHODS.iter().filter(|info| info.capabilities.quantized_base), &Nf4::PLAIN);
}

/// Takes away, one by one, what a checkpoint must hold.
#[test]
fn a_checkpoint_that_lacks_something_is_noticed() {
    let cases: [(&str, &str); 14] = [
        ("lora", "adapter/model.layers.0.mlp.up_proj.lora_B.weight"),
        ("lora", "lora_A.weight.exp_avg"),
        ("lora", "lora_B.weight.exp_avg_sq"),
        ("lora", "lora_B.weight.step"),
        ("adalora", "lora_E.sensitivity"),
        ("adalora", "lora_B.uncertainty"),
        ("adalora", "rank_pattern"),
        ("adalora", "method/steps_done"),
        ("lora-dash", "lora_dash_u"),
        ("lora-dash", "delta_score"),
        ("rosa", "method/model.layers.1.mlp.down_proj.mean"),
        ("spa", "method/model.layers.0.self_attn.q_proj.count"),
        ("lori-s", "lora_B.weight.mask"),
        ("lori-s", "draws"),
    ];
    let by_name = |name: &str| *find(name).unwrap();
    for (method, lacking) in cases {
        let info = find(method).unwrap();
        let settings = settings_with_phases(info).pop().unwrap();
        let found = Cell::new(false);
        let forget = |checkpoint: &mut Checkpoint| found.set(forget(checkpoint, lacking) || found.get());
        let law = bench(info, &settings, &by_name, &AsLoaded).resumes_from(forget);
        assert!(found.get(), "{method}: there is no `{lacking}`");
        assert!(law.is_err(), "{method} without `{lacking}` resumed bit for bit");
    }
}

/// Puts zeros in place of the tensors whose name ends so, or nothing in place of a value, and says whether there was any;
/// the run itself goes on undisturbed.
fn forget(checkpoint: &mut Checkpoint, lacking: &str) -> bool {
    if checkpoint.value::<serde_json::Value>(lacking).is_ok() {
        checkpoint.put(lacking, &serde_json::json!({}));
        return true;
    }
    let all = checkpoint.all_tensors().iter().filter(|(name, _)| name.ends_with(lacking));
    let zeros: Vec<_> = all.map(|(name, tensor)| (name.clone(), tensor.zeros_like())).collect();
    let found = !zeros.is_empty();
    for (name, zeros) in zeros {
        let (section, name) = name.split_once('/').unwrap();
        checkpoint.put_tensors(section, [(name.to_owned(), zeros)].into());
    }
    found
}
