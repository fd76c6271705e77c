use tch::Tensor;

use super::patient::{TENSORS, listed};
use super::{Check, Finding, Patient};
use crate::solver::CausalLm;

/// Values that are no numbers, or an adapter of zeros.
pub struct Values;

/// Tensors each of which makes the whole update zero, if it is.
const FACTORS: [&str; 6] = ["lora_A", "lora_B", "lora_E", "miss_block", "bone_block", "vera_lambda_b"];

impl Check for Values {
    fn findings(&self, patient: &Patient, _model: Option<&mut CausalLm>) -> Vec<Finding> {
        let tensors = &patient.file.tensors;
        let broken: Vec<&str> = (tensors.iter())
            .filter(|(_, t)| t.is_floating_point() && !all(&t.isfinite()))
            .map(|(name, _)| name.as_str())
            .collect();
        let mut findings = Vec::new();
        if !broken.is_empty() {
            let what = format!("{} with values that are NaN or infinite", listed(broken));
            findings.push(Finding::error("values", TENSORS, what, "train it again at a lower learning rate"));
        }
        let idle = FACTORS.iter().find(|factor| {
            let mut tensors = patient.modules_with(factor).map(|(_, t)| t).peekable();
            tensors.peek().is_some() && tensors.all(|t| t.count_nonzero(None).int64_value(&[]) == 0)
        });
        let magnitudes = patient.modules_with("lora_magnitude_vector").next().is_some();
        if let Some(factor) = idle.filter(|_| patient.peft_type().is_some() && !magnitudes) {
            let what = format!("every `{factor}` is zero, so the adapter changes nothing");
            findings.push(
                Finding::error("values", TENSORS, what, "see whether it was trained, and saved afterwards")
                    .warning(),
            );
        }
        findings
    }
}

fn all(flags: &Tensor) -> bool {
    flags.all().int64_value(&[]) != 0
}
