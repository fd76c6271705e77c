use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use peft_core::low_rank::LoraFields;
use peft_core::peft_file::{AdapterFile, FINGERPRINT, PREFIX};
use peft_core::tensor_file::Metadata;
use peft_core::{Error, Result, Seeds, StateDict};
use serde_json::json;

use crate::{Factors, Recipe, combine, updates};

/// An adapter and its weight in a merge.
#[derive(Debug)]
pub struct Contribution<'a> {
    /// The adapter.
    pub file: &'a AdapterFile,
    /// w.
    pub weight: f64,
}

/// The merged adapter, as a file of plain LoRA layout, and its factors by module.
///
/// # Errors
/// As [`updates`] and [`combine`], with the module; [`Error::WrongBase`] if the adapters were made for different bases.
///
/// # Panics
/// If there is no contribution.
pub fn merge(
    contributions: &[Contribution<'_>],
    recipe: &Recipe,
    seeds: &Seeds,
) -> Result<(AdapterFile, BTreeMap<String, Factors>)> {
    let first = contributions.first().expect("something to merge").file;
    for Contribution { file, .. } in contributions {
        if let (Some(ours), Some(theirs)) = (first.metadata.get(FINGERPRINT), file.metadata.get(FINGERPRINT))
            && ours != theirs
        {
            return Err(Error::WrongBase {
                origin: file.origin.clone(),
                theirs: theirs.clone(),
                ours: ours.clone(),
            });
        }
    }
    let recipe = if contributions.len() == 1 { &Recipe::ALONE } else { recipe };
    let all = contributions.iter().map(|c| Ok((updates(c.file)?, c.weight))).collect::<Result<Vec<_>>>()?;
    let modules: BTreeSet<&String> = all.iter().flat_map(|(updates, _)| updates.keys()).collect();
    let mut merged = BTreeMap::new();
    for module in modules {
        let parts: Vec<(&Factors, f64)> =
            all.iter().filter_map(|(updates, weight)| Some((updates.get(module)?, *weight))).collect();
        let factors = combine(recipe, &parts, &mut seeds.child(module).rng())
            .map_err(|error| Error::site(module.as_str(), error.to_string()))?;
        merged.insert(module.clone(), factors);
    }
    let rank = merged.values().map(Factors::rank).max().unwrap_or(1);
    let merged = merged.into_iter().map(|(module, factors)| (module, factors.padded(rank))).collect();
    Ok((file(first, &merged, rank), merged))
}

/// α = r, so that every scaling is 1; one rank for all, since not every reader knows rank patterns.
fn file(first: &AdapterFile, merged: &BTreeMap<String, Factors>, rank: i64) -> AdapterFile {
    let (rank_pattern, alpha_pattern) = (IndexMap::new(), IndexMap::new());
    let fields = LoraFields { rank, alpha: rank as f64, dropout: 0.0, rank_pattern, alpha_pattern };
    let mut config = fields.write();
    for key in ["base_model_name_or_path", "task_type", "fan_in_fan_out", "revision", "auto_mapping"] {
        config.insert(key.to_owned(), first.config.get(key).cloned().unwrap_or_default());
    }
    if config["fan_in_fan_out"].is_null() {
        config.insert("fan_in_fan_out".to_owned(), json!(false));
    }
    config.insert("inference_mode".to_owned(), json!(true));
    config.insert("target_modules".to_owned(), json!(merged.keys().collect::<Vec<_>>()));
    let mut tensors = StateDict::new();
    for (module, factors) in merged {
        tensors.insert(format!("{PREFIX}{module}.lora_A.weight"), factors.a.contiguous());
        tensors.insert(format!("{PREFIX}{module}.lora_B.weight"), factors.b.contiguous());
    }
    let mut metadata = Metadata::from([("format".to_owned(), "pt".to_owned())]);
    if let Some(fingerprint) = first.metadata.get(FINGERPRINT) {
        metadata.insert(FINGERPRINT.to_owned(), fingerprint.clone());
    }
    AdapterFile { config, tensors, metadata, origin: "merged".to_owned() }
}
