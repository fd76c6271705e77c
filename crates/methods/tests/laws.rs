//! Every method keeps every law, on f32 and bf16 bases.

use methods::{METHODS, find};
use peft_core::{AsLoaded, MethodInfo};
use peft_testkit::{Bench, check_all};
use tch::Kind;

/// Settings that fit the toy's layers: where a method's defaults assume a large model.
fn settings(info: &MethodInfo) -> toml::Table {
    let text = match info.name {
        "full" => "",
        "lori-s" => "rank = 4\nalpha = 8.0\nsparsity = 0.5",
        _ => "rank = 4\nalpha = 8.0",
    };
    text.parse().unwrap()
}

fn check(kind: Kind) {
    for info in METHODS {
        let find = |name: &str| *find(name).unwrap();
        check_all(Bench { info: *info, settings: &settings(info), find: &find, kind, storage: &AsLoaded });
    }
}

#[test]
fn on_f32() {
    check(Kind::Float);
}

#[test]
fn on_bf16() {
    check(Kind::BFloat16);
}
