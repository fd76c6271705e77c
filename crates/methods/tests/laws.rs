//! Every method keeps every law, on f32 and bf16 bases, dense, rounded and in 4 bits.

mod common;

use common::settings;
use methods::{METHODS, find};
use peft_core::{AsLoaded, MethodInfo, Nf4, Storage};
use peft_testkit::{Bench, Rounded, Trained, check_all};
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

fn on_quantized(kind: Kind, storage: &dyn Storage) {
    check(METHODS.iter().filter(|info| info.capabilities.quantized_base), kind, storage);
}

/// Where storing changes the weights, residual methods replace them.
#[test]
fn on_a_base_stored_with_loss() {
    on_quantized(Kind::Float, &Rounded);
}

#[test]
fn on_nf4_computed_in_f32() {
    on_quantized(Kind::Float, &Nf4::PLAIN);
}

#[test]
fn on_nf4_computed_in_bf16() {
    on_quantized(Kind::BFloat16, &Nf4::DOUBLE);
}

#[test]
fn what_cannot_work_on_a_quantized_base_says_why() {
    for info in METHODS.iter().filter(|info| !info.capabilities.quantized_base) {
        let find = |name: &str| *find(name).unwrap();
        for settings in settings(info) {
            let refused = Trained::run(info, &settings, &find, (Kind::Float, &Nf4::PLAIN), 0, 0);
            let error = refused.expect_err(info.name).to_string();
            assert!(error.contains("on a quantized base is not supported"), "{}: {error}", info.name);
        }
    }
}
