//! What would make an adapter fail in silence: load and do nothing, act on a part of the layers, or compute something
//! else in another program.
//!
//! Each way to fail is a `Check` with a file of its own. The last one proves, on a model, that the adapter loads and that
//! merged weights compute what it computes; it only runs where nothing else is wrong.

mod disguise;
mod finding;
mod patient;
mod peft_type;
mod prefix;
mod proof;
mod ranks;
mod residual;
mod scale;
mod targets;
mod values;

use std::path::Path;

use crate::solver::CausalLm;

pub use finding::{Finding, Severity};
pub use patient::Patient;

/// One way to fail.
trait Check: Sync {
    /// What of it is found. Without a model a check looks at the files alone.
    fn findings(&self, patient: &Patient, model: Option<&mut CausalLm>) -> Vec<Finding>;
}

const CHECKS: [&dyn Check; 8] = [
    &peft_type::PeftType,
    &prefix::Prefix,
    &scale::Scale,
    &ranks::TensorRanks,
    &values::Values,
    &disguise::Disguise,
    &targets::TargetModules,
    &residual::ResidualStart,
];

/// Everything that is wrong with the adapter in `folder`.
pub fn examine(folder: &Path, mut model: Option<&mut CausalLm>) -> Vec<Finding> {
    let patient = match Patient::read(folder) {
        Ok(patient) => patient,
        Err(finding) => return vec![finding],
    };
    let mut findings = Vec::new();
    for check in CHECKS {
        findings.extend(check.findings(&patient, model.as_deref_mut()));
    }
    if findings.iter().all(|finding| finding.severity == Severity::Warning) {
        findings.extend(proof::Proof.findings(&patient, model));
    }
    findings
}
