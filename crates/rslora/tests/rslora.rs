//! The oracles of rsLoRA that need no other method.

use indexmap::IndexMap;
use peft_core::{Adaptable, AsLoaded, MethodInfo};
use peft_testkit::{Tolerance, Trained, assert_close};
use rslora::{Config, RSLORA};
use tch::Kind;

fn attach(settings: &str) -> Trained {
    let find = |_: &str| -> MethodInfo { unreachable!("rsLoRA needs no other run") };
    Trained::run(&RSLORA, &settings.parse().unwrap(), &find, (Kind::Float, &AsLoaded), 3, 0).unwrap()
}

/// s = α/√r with the rank of each module: ΔW is that multiple of B·A.
#[test]
fn the_root_is_of_the_modules_own_rank() {
    let mut run =
        attach("rank = 4\nalpha = 6.0\nrank_pattern = { up_proj = 9 }\nalpha_pattern = { down_proj = 1.0 }");
    let tensors = run.attachment.store().adapter_tensors();
    for linear in run.toy.linears() {
        let scaling = match linear.name().rsplit('.').next().unwrap() {
            "up_proj" => 6.0 / 3.0,
            "down_proj" => 1.0 / 2.0,
            _ => 6.0 / 2.0,
        };
        let of = |tensor: &str| &tensors[&format!("{}.{tensor}.weight", linear.name())];
        let delta = linear.adapter("default").unwrap().as_delta().unwrap().weight();
        let expected = of("lora_B").matmul(of("lora_A")) * scaling;
        assert!(expected.abs().max().double_value(&[]) > 0.0, "three steps moved B");
        assert_close(linear.name(), &delta, &expected, Tolerance::F32);
    }
}

#[test]
fn pefts_flag_is_written_and_read() {
    let format = RSLORA.peft.unwrap();
    let settings = toml::Table::try_from(Config { rank: 9, alpha: 6.0, ..Config::default() }).unwrap();
    let written = (format.write)(&settings).unwrap();
    assert_eq!(written["use_rslora"], true);
    assert_eq!((format.read)(&written).unwrap(), Some(settings));
    for (key, value) in [("use_rslora", false), ("use_dora", true)] {
        let mut other = written.clone();
        other.insert(key.to_owned(), value.into());
        assert_eq!((format.read)(&other).unwrap(), None, "{key} = {value} is another method");
    }
}

#[test]
fn a_pattern_that_matches_nothing_is_refused() {
    let find = |_: &str| -> MethodInfo { unreachable!("rsLoRA needs no other run") };
    let settings = toml::Table::try_from(Config {
        rank_pattern: IndexMap::from([("gate_proj".to_owned(), 2)]),
        ..Config::default()
    })
    .unwrap();
    let error = Trained::run(&RSLORA, &settings, &find, (Kind::Float, &AsLoaded), 0, 0).unwrap_err();
    assert!(error.to_string().contains("rank_pattern `gate_proj`"), "{error}");
}
