use serde_json::Value;

use super::patient::CONFIG;
use super::{Check, Finding, Patient};
use crate::adapter;
use crate::solver::CausalLm;

/// The configuration does not say what the update is multiplied with, or says something else than the training did.
pub struct Scale;

/// Keys that decide the scale, or which formula is scaled.
const DECIDE: [&str; 9] = [
    "r",
    "lora_alpha",
    "rank_pattern",
    "alpha_pattern",
    "use_rslora",
    "use_dora",
    "init_r",
    "init_weights",
    "mini_r",
];

impl Check for Scale {
    fn findings(&self, patient: &Patient, _model: Option<&mut CausalLm>) -> Vec<Finding> {
        let config = &patient.file.config;
        let needed: &[&str] = match patient.peft_type() {
            Some("LORA") => &["r", "lora_alpha"],
            Some("ADALORA") => &["init_r", "lora_alpha"],
            Some("MISS" | "VERA") => &["r"],
            _ => &[],
        };
        let absent = needed.iter().filter(|key| config.get(**key).is_none_or(Value::is_null)).map(|key| {
            let what = format!("`{key}` is absent, and readers take a value of their own for it");
            Finding::error("scale", CONFIG, what, "add the value that it was trained with")
        });
        absent.chain(contradictions(patient)).collect()
    }
}

/// Where the configuration differs from what the settings in the header of the tensor file amount to.
fn contradictions(patient: &Patient) -> Vec<Finding> {
    let Some((method, settings)) = &patient.method else { return Vec::new() };
    let Ok(expected) = adapter::config_of(method, settings) else { return Vec::new() };
    let config = &patient.file.config;
    // AdaLoRA's patterns are those that the run ended with.
    let by_run = |key: &str| key == "rank_pattern" && patient.peft_type() == Some("ADALORA");
    let differs = |key: &&str| match (expected.get(*key), config.get(*key)) {
        (Some(expected), Some(found)) => !same(expected, found) && !by_run(key),
        _ => false,
    };
    let finding = |key: &str| {
        let what = format!("`{key} = {}`, but it was trained with `{}`", config[key], expected[key]);
        Finding::error("scale", CONFIG, what, "put back the value that it was trained with")
    };
    DECIDE.iter().filter(|key| differs(key)).map(|key| finding(key)).collect()
}

fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}
