use methods::METHODS;
use peft_core::near;

use super::patient::CONFIG;
use super::{Check, Finding, Patient};
use crate::solver::CausalLm;

/// `peft_type` names no method, or one by a name that PEFT no longer knows.
pub struct PeftType;

const NAME: &str = "peft-type";

impl Check for PeftType {
    fn findings(&self, patient: &Patient, _model: Option<&mut CausalLm>) -> Vec<Finding> {
        let Some(written) = patient.file.config.get("peft_type").and_then(|value| value.as_str()) else {
            let advice = "add the type of the method that made it, `\"LORA\"` for LoRA";
            return vec![Finding::error(NAME, CONFIG, "there is no `peft_type`", advice)];
        };
        match (patient.peft_type(), &patient.method) {
            (Some(current), _) if current != written => {
                let what = format!("PEFT calls `{written}` `{current}` by now and does not load it");
                let advice = "write it anew with `harness export --for peft`";
                vec![Finding::error(NAME, CONFIG, what, advice).warning()]
            }
            (Some(_), _) | (None, Some(_)) => Vec::new(),
            (None, None) => {
                let known: Vec<String> =
                    METHODS.iter().filter_map(|info| Some(info.peft?.peft_type.to_owned())).collect();
                let what = format!("no method is called `peft_type = {written}`");
                vec![Finding::error(NAME, CONFIG, what, near::suggestion(written, &known))]
            }
        }
    }
}
