use peft_core::low_rank::flag;

use super::patient::{CONFIG, TENSORS, listed};
use super::{Check, Finding, Patient};
use crate::solver::CausalLm;

/// Files that say they are of one of PEFT's types and mean something else: readers take the part they know.
pub struct Disguise;

const NAME: &str = "disguise";

/// Marks of what others write as `LORA`: the beginning of a tensor's or of a key's name, and whose it is.
const MARKS: [(&str, &str); 6] = [
    ("lora_index", "LoRA-Dash"),
    ("lora_w_u", "LoRA-Dash"),
    ("lora_w_vt", "LoRA-Dash"),
    ("spectral", "Spectral Adapter"),
    ("rosa_", "RoSA"),
    ("lora_E", "AdaLoRA"),
];

/// Tensors of each type.
fn own_tensors(peft_type: &str) -> &'static [&'static str] {
    match peft_type {
        "LORA" => &["lora_A", "lora_B", "lora_magnitude_vector"],
        "ADALORA" => &["lora_A", "lora_B", "lora_E"],
        "MISS" => &["miss_block", "bone_block"],
        "VERA" => &["vera_A", "vera_B", "vera_lambda_b", "vera_lambda_d"],
        _ => &[],
    }
}

fn whose(name: &str) -> Option<&'static str> {
    MARKS.iter().find(|(mark, _)| name.starts_with(mark)).map(|(_, whose)| *whose)
}

impl Check for Disguise {
    fn findings(&self, patient: &Patient, _model: Option<&mut CausalLm>) -> Vec<Finding> {
        let Some(peft_type) = patient.peft_type() else { return Vec::new() };
        foreign_tensors(patient, peft_type)
            .into_iter()
            .chain(magnitudes(patient))
            .chain(foreign_keys(patient))
            .collect()
    }
}

fn foreign_tensors(patient: &Patient, peft_type: &str) -> Option<Finding> {
    let last = |name: &str| Patient::parts(name).map_or(name, |(_, tensor)| tensor).to_owned();
    let foreign: Vec<&str> = (patient.file.tensors.keys().map(String::as_str))
        .filter(|name| !own_tensors(peft_type).contains(&last(name).as_str()) && !patient.saves(name))
        .collect();
    let first = foreign.first()?;
    let what =
        format!("{} in a file of type `{peft_type}`, which readers leave out", listed(foreign.clone()));
    let advice = match whose(&last(first)) {
        Some(whose) => format!(
            "it is an adapter of {whose}: load it with the code that wrote it, and export the merged weights"
        ),
        None => "copies of whole layers are no part of an adapter here: merge them into the base".to_owned(),
    };
    Some(Finding::error(NAME, TENSORS, what, advice))
}

fn magnitudes(patient: &Patient) -> Option<Finding> {
    let (declared, there) = (
        flag(&patient.file.config, "use_dora"),
        patient.modules_with("lora_magnitude_vector").next().is_some(),
    );
    let what = match (declared, there) {
        (false, true) => "magnitudes of DoRA, but `use_dora` is not set, so readers leave them out",
        (true, false) => "`use_dora` is set, but there are no magnitudes, so readers start them anew",
        _ => return None,
    };
    Some(Finding::error(NAME, CONFIG, what, "make `use_dora` say what the tensors are"))
}

fn foreign_keys(patient: &Patient) -> Option<Finding> {
    let error = patient.file.check_known().err()?;
    let key = patient.file.config.keys().find(|key| whose(key).is_some());
    let advice = match key.and_then(|key| whose(key)) {
        Some(whose) => format!("it is an adapter of {whose}: load it with the code that wrote it"),
        None => "load it with the code that wrote it, and export the merged weights".to_owned(),
    };
    let what = error.to_string();
    let what = what.split_once(": ").map_or(what.as_str(), |(_, what)| what).to_owned();
    Some(Finding::error(NAME, CONFIG, what, advice))
}
