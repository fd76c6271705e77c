use std::collections::BTreeMap;

use peft_core::low_rank::LoraFields;
use peft_core::{Patterned, Result};
use serde_json::{Map, Value};

use super::patient::{TENSORS, listed};
use super::{Check, Finding, Patient};
use crate::solver::CausalLm;

/// Factors without their other half, or of another rank than the configuration says.
pub struct TensorRanks;

const NAME: &str = "rank";

impl Check for TensorRanks {
    fn findings(&self, patient: &Patient, _model: Option<&mut CausalLm>) -> Vec<Finding> {
        let down: BTreeMap<&str, i64> =
            patient.modules_with("lora_A").map(|(module, a)| (module, a.size()[0])).collect();
        let up: BTreeMap<&str, i64> = patient
            .modules_with("lora_B")
            .map(|(module, b)| (module, b.size().last().copied().unwrap_or(0)))
            .collect();
        let alone = |a: &BTreeMap<&str, i64>, b: &BTreeMap<&str, i64>, what: &str, other: &str| {
            let modules: Vec<String> =
                a.keys().filter(|m| !b.contains_key(*m)).map(|m| (*m).to_owned()).collect();
            let names = listed(modules.iter().map(String::as_str));
            let what = format!("{names} with `{what}` but without `{other}`, which readers leave at zero");
            let advice = "the file is cut or was renamed in part: save the adapter again";
            (!modules.is_empty()).then(|| Finding::error(NAME, TENSORS, what, advice))
        };
        let mut findings: Vec<Finding> =
            [alone(&down, &up, "lora_A", "lora_B"), alone(&up, &down, "lora_B", "lora_A")]
                .into_iter()
                .flatten()
                .collect();
        let wrong: Vec<String> = match expected(patient) {
            Ok(expected) => (down.iter())
                .filter(|(module, rows)| up.get(*module).is_some_and(|columns| columns != *rows))
                .map(|(module, rows)| format!("{module}: A has {rows} rows, B {} columns", up[module]))
                .chain((down.iter()).filter_map(|(module, rows)| {
                    let rank = expected(module)?;
                    (rank != *rows).then(|| format!("{module}: rank {rows}, the configuration says {rank}"))
                }))
                .collect(),
            Err(error) => vec![error.to_string()],
        };
        if !wrong.is_empty() {
            let advice = "set `r` and `rank_pattern` to the ranks of the tensors";
            findings.push(Finding::error(NAME, TENSORS, listed(wrong.iter().map(String::as_str)), advice));
        }
        findings
    }
}

type RankOf = Box<dyn Fn(&str) -> Option<i64>>;

/// The rank of a module by the configuration.
fn expected(patient: &Patient) -> Result<RankOf> {
    let config = &patient.file.config;
    match patient.peft_type() {
        Some("LORA") if config.contains_key("r") => {
            let fields = LoraFields::read(config)?;
            let ranks = Patterned::new("rank_pattern", fields.rank, &fields.rank_pattern)?;
            Ok(Box::new(move |module| Some(ranks.of(module))))
        }
        Some("ADALORA") => {
            let initial = config.get("init_r").and_then(Value::as_i64);
            let left: Map<String, Value> =
                config.get("rank_pattern").and_then(Value::as_object).cloned().unwrap_or_default();
            Ok(Box::new(move |module| {
                match left.get(&format!("{module}.lora_E")).and_then(Value::as_array) {
                    Some(kept) => Some(kept.iter().filter(|kept| **kept == Value::Bool(true)).count() as i64),
                    None => initial,
                }
            }))
        }
        _ => Ok(Box::new(|_| None)),
    }
}
