//! Every method keeps every law, on f32 and bf16 bases and on one that is stored with loss.

mod common;

use common::settings;
use methods::{METHODS, find};
use peft_core::{AsLoaded, MethodInfo, Storage};
use peft_testkit::{Bench, Rounded, check_all};
use tch::Kind;

fn check<'a>(methods: impl Iterator<Item = &'a MethodInfo>, kind: Kind, storage: &dyn Storage) {
    for info in methods {
        let find = |name: &str| *find(name).unwrap();
        for settings in settings(info) {
            check_all(Bench { info: *info, settings: &settings, find: &find, kind, storage });
        }
    }
}

#[test]
fn on_f32() {
    check(METHODS.iter(), Kind::Float, &AsLoaded);
}

#[test]
fn on_bf16() {
    check(METHODS.iter(), Kind::BFloat16, &AsLoaded);
}

/// Where storing changes the weights, residual methods replace them.
#[test]
fn on_a_base_stored_with_loss() {
    check(METHODS.iter().filter(|info| info.capabilities.quantized_base), Kind::Float, &Rounded);
}
