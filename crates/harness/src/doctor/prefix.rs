use peft_core::peft_file;

use super::patient::{TENSORS, listed};
use super::{Check, Finding, Patient};
use crate::solver::CausalLm;

/// Names without PEFT's prefix: PEFT only warns, and the model computes the base's function.
pub struct Prefix;

impl Check for Prefix {
    fn findings(&self, patient: &Patient, _model: Option<&mut CausalLm>) -> Vec<Finding> {
        let prefix = peft_file::PREFIX;
        let lacking: Vec<&str> = patient
            .names
            .iter()
            .map(String::as_str)
            .filter(|name| peft_file::own_name(name).is_none())
            .collect();
        let twice: Vec<&str> = (patient.names.iter().map(String::as_str))
            .filter(|name| name.matches("base_model.").count() > 1)
            .collect();
        let finding = |names: &[&str], what: String, advice: String| {
            (!names.is_empty()).then(|| Finding::error("prefix", TENSORS, what, advice))
        };
        let lack = format!(
            "{} without the prefix `{prefix}`, so PEFT loads nothing into them",
            listed(lacking.clone())
        );
        let double = format!("{} with the prefix `{prefix}` twice", listed(twice.clone()));
        [
            finding(&lacking, lack, format!("put `{prefix}` before the names")),
            finding(&twice, double, "take one of the two away".to_owned()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
