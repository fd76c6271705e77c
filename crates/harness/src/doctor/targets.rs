use std::collections::BTreeSet;

use peft_core::low_rank::LoraFields;
use peft_core::{Adaptable, Modules, Patterned, Site, Targets, near};

use super::patient::{CONFIG, TENSORS, listed};
use super::{Check, Finding, Patient};
use crate::solver::CausalLm;

/// Targets that match nothing, and layers that are targets without having tensors, or the reverse: readers adapt what
/// they find and say nothing.
pub struct TargetModules;

const NAME: &str = "targets";

impl Check for TargetModules {
    fn findings(&self, patient: &Patient, model: Option<&mut CausalLm>) -> Vec<Finding> {
        let (Some(model), Some(_)) = (model, patient.peft_type()) else { return Vec::new() };
        let targets = match patient.file.targets() {
            Ok(targets) => targets,
            Err(error) => {
                let advice = "name the adapted layers in `target_modules`";
                return vec![Finding::error(NAME, CONFIG, error.to_string(), advice)];
            }
        };
        let mut findings = unmatched(&targets, model);
        if let (true, Ok(sites)) = (findings.is_empty(), targets.sites(model, |_| true)) {
            findings.extend(unmatched_patterns(patient, &sites));
            let layers: Vec<String> = model.linears().iter().map(|linear| linear.name().to_owned()).collect();
            findings.extend(apart(patient, &sites, &layers));
        }
        findings
    }
}

/// Entries one by one, since the rest of a list hides one that is misspelt.
fn unmatched(targets: &Targets, model: &mut CausalLm) -> Vec<Finding> {
    let entries = |modules: &Modules| match modules {
        Modules::Names(names) => {
            names.iter().map(|name| Modules::Names(vec![name.clone()])).collect::<Vec<_>>()
        }
        other => vec![other.clone()],
    };
    let all = entries(&targets.modules).into_iter().chain(targets.exclude.iter().flat_map(entries));
    let mut find = |modules: Modules| {
        let alone = Targets { modules, ..Targets::default() };
        let error = alone.sites(model, |_| true).err()?;
        let advice = error.hint().unwrap_or_else(|| "name layers of the model".to_owned());
        Some(Finding::error(NAME, CONFIG, error.to_string(), advice))
    };
    all.filter_map(&mut find).collect()
}

/// Patterns of rank and α that apply to no site leave it with the default.
fn unmatched_patterns(patient: &Patient, sites: &[Site]) -> Vec<Finding> {
    if !patient.is_lora() {
        return Vec::new();
    }
    let Ok(fields) = LoraFields::read(&patient.file.config) else { return Vec::new() };
    let checks = [
        Patterned::new("rank_pattern", fields.rank, &fields.rank_pattern).and_then(|p| p.check(sites)),
        Patterned::new("alpha_pattern", fields.alpha, &fields.alpha_pattern).and_then(|p| p.check(sites)),
    ];
    let finding = |error: peft_core::Error| {
        let advice = error.hint().unwrap_or_else(|| "name adapted layers".to_owned());
        Finding::error(NAME, CONFIG, error.to_string(), advice)
    };
    checks.into_iter().filter_map(Result::err).map(finding).collect()
}

/// Layers that are targets, and modules that have tensors: they must be the same.
fn apart(patient: &Patient, sites: &[Site], layers: &[String]) -> Vec<Finding> {
    let targets: BTreeSet<&str> = sites.iter().map(|site| site.name.as_str()).collect();
    let factors = patient.file.tensors.keys().filter(|name| !patient.saves(name));
    let held: BTreeSet<&str> = factors.filter_map(|name| Some(Patient::parts(name)?.0)).collect();
    let empty: Vec<&str> = targets.difference(&held).copied().collect();
    let surplus: Vec<&str> = held.difference(&targets).copied().collect();
    let mut findings = Vec::new();
    if !empty.is_empty() {
        let what = format!(
            "{} of {} targets have no tensors and would stay as the base: {}",
            empty.len(),
            targets.len(),
            listed(empty)
        );
        let advice = "take them out of `target_modules`, or save the adapter again";
        findings.push(Finding::error(NAME, TENSORS, what, advice));
    }
    if let Some(first) = surplus.first() {
        let hint = if layers.iter().any(|layer| layer == first) {
            "add them to `target_modules`".to_owned()
        } else {
            near::suggestion(first, layers)
        };
        let what = format!("tensors of {}, which are no targets: readers drop them", listed(surplus.clone()));
        findings.push(Finding::error(NAME, TENSORS, what, hint));
    }
    findings
}
