use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use peft_core::low_rank::LoraFields;
use peft_core::peft_file::{AdapterFile, FINGERPRINT, PREFIX};
use peft_core::tensor_file::Metadata;
use peft_core::{Error, Result, Seeds, StateDict};
use serde_json::json;

use crate::{Factors, Recipe, Update, Updates, combine_updates};

/// An adapter and its weight in a merge.
#[derive(Clone, Copy, Debug)]
pub struct Contribution<'a> {
    /// What the adapter adds to each module.
    pub updates: &'a Updates,
    /// w.
    pub weight: f64,
}

/// The merged updates by module; low-rank ones are padded to one rank, since not every reader knows rank patterns.
///
/// # Errors
/// As [`combine_updates`], with the module.
///
/// # Panics
/// If there is no contribution.
pub fn merge(contributions: &[Contribution<'_>], recipe: &Recipe, seeds: &Seeds) -> Result<Updates> {
    assert!(!contributions.is_empty(), "something to merge");
    let recipe = if contributions.len() == 1 { recipe.alone() } else { *recipe };
    let modules: BTreeSet<&String> = contributions.iter().flat_map(|one| one.updates.keys()).collect();
    let mut merged = Updates::new();
    for module in modules {
        let parts: Vec<(&Update, f64)> =
            contributions.iter().filter_map(|one| Some((one.updates.get(module)?, one.weight))).collect();
        let update = combine_updates(&recipe, &parts, &mut seeds.child(module).rng())
            .map_err(|error| Error::site(module.as_str(), error.to_string()))?;
        merged.insert(module.clone(), update);
    }
    let rank = rank(&merged);
    let padded = |update| match update {
        Update::LowRank(factors) => Update::LowRank(factors.padded(rank)),
        dense @ Update::Dense(_) => dense,
    };
    Ok(merged.into_iter().map(|(module, update)| (module, padded(update))).collect())
}

/// The largest rank of low-rank updates; 1 if there is none.
pub fn rank(updates: &Updates) -> i64 {
    let ranks = updates.values().filter_map(|update| match update {
        Update::LowRank(factors) => Some(factors.rank()),
        Update::Dense(_) => None,
    });
    ranks.max().unwrap_or(1)
}

/// Whether `files` were made for one base, as far as they say so of the same modules.
///
/// # Errors
/// [`Error::WrongBase`].
pub fn check_bases(files: &[AdapterFile]) -> Result<()> {
    let modules = |file: &AdapterFile| -> BTreeSet<String> {
        file.tensors.keys().filter_map(|name| Some(name.rsplit_once(".lora_")?.0.to_owned())).collect()
    };
    let stated = |file: &AdapterFile| file.metadata.get(FINGERPRINT).cloned();
    let Some((first, rest)) = files.split_first() else { return Ok(()) };
    for file in rest {
        if let (Some(ours), Some(theirs)) = (stated(first), stated(file))
            && ours != theirs
            && modules(first) == modules(file)
        {
            return Err(Error::WrongBase { origin: file.origin.clone(), theirs, ours });
        }
    }
    Ok(())
}

/// `merged` as a plain LoRA that every reader understands, in the name of `files`, whose bases it shares.
///
/// # Errors
/// [`Error::Unsupported`] if an update is dense.
///
/// # Panics
/// If there is no file.
pub fn plain_file(files: &[AdapterFile], merged: &Updates) -> Result<AdapterFile> {
    let first = files.first().expect("something to merge");
    let mut factors = BTreeMap::new();
    for (module, update) in merged {
        let Update::LowRank(low_rank) = update else {
            return Err(Error::Unsupported {
                what: format!("writing the merged update of `{module}` as an adapter"),
                reason: "it is no product of two thin matrices; write it into a model (`--into-model`), or truncate it \
                         (`--how svd --rank R`)"
                    .to_owned(),
            });
        };
        factors.insert(module, low_rank);
    }
    let same_base =
        files.iter().all(|file| file.metadata.get(FINGERPRINT) == first.metadata.get(FINGERPRINT));
    let fingerprint = first.metadata.get(FINGERPRINT).filter(|_| same_base);
    Ok(file(first, &factors, rank(merged), fingerprint))
}

/// α = r, so that every scaling is 1.
fn file(
    first: &AdapterFile,
    merged: &BTreeMap<&String, &Factors>,
    rank: i64,
    fingerprint: Option<&String>,
) -> AdapterFile {
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
    if let Some(fingerprint) = fingerprint {
        metadata.insert(FINGERPRINT.to_owned(), fingerprint.clone());
    }
    AdapterFile { config, tensors, metadata, origin: "merged".to_owned() }
}
