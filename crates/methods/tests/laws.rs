//! Every method keeps every law, on f32 and bf16 bases, dense, rounded and in 4 bits.

use methods::{METHODS, find};
use peft_core::{AsLoaded, MethodInfo, Nf4, Storage};
use peft_testkit::{Bench, Rounded, Trained, check_all};
use tch::Kind;

/// Settings that fit the toy's layers: where a method's defaults assume a large model, and where a setting changes what
/// is computed.
fn settings(info: &MethodInfo) -> Vec<toml::Table> {
    const RANK: &str = "rank = 4\nalpha = 8.0";
    let variants: &[&str] = match info.name {
        "full" => &[""],
        "vera" | "dvora" => &["rank = 8", "rank = 8\nprojection_prng_key = 1\nsave_projection = false"],
        "lori-s" => &["rank = 4\nalpha = 8.0\nsparsity = 0.5"],
        "dora" => &[RANK, "rank = 4\nnorm_gradient = 'full'\nmagnitude_only = ['up_proj']"],
        "pissa" => &[RANK, "rank = 4\nalpha = 4.0\ninit = 'pissa_niter_2'\nquantization_iterations = 2"],
        "milora" => &[RANK, "rank = 4\nalpha = 4.0\ncomponents = 'random'\nsvd = 'full'"],
        "lora-dash" => &["rank = 4\nalpha = 8.0\ndirections = 3", "rank = 4\nlaunch = 2\nchoice = 'random'"],
        "spectral-a" => &["rank = 4", "rank = 4\nstart = 2\ncounted_from = 'smallest'"],
        "spectral-r" => &["rank = 12\ntrain_scale = true", "rank = 12\nstart = 1"],
        "rosa" => &[
            "rank = 4\nalpha = 8.0\ndensity = 0.1",
            "rank = 2\ndensity = 0.2\nlow_rank_steps = 2\nscore = 'mean'\nlr_ratio = 2.0\ndropout = 0.1",
        ],
        "spa" => &["density = 0.3"],
        "adalora" => &[
            "initial_rank = 4\ntarget_rank = 2\nalpha = 16.0\ninterval = 1",
            "initial_rank = 3\ntarget_rank = 3\nalpha = 16.0\northogonality = 0.0\ndropout = 0.1",
        ],
        "bone" => &["rank = 4", "rank = 5\nmini_rank = 4", "rank = 7"],
        "bat" => &["rank = 4", "rank = 8"],
        "lora-fa" => &[RANK, "rank = 4\ngradient = 'plain'"],
        _ => &[RANK],
    };
    variants.iter().map(|text| text.parse().unwrap()).collect()
}

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
