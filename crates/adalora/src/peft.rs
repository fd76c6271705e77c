//! The config of PEFT's type `ADALORA`.

use serde_json::{Map, Value, json};
use tch::Tensor;

use peft_core::low_rank::LoraFields;
use peft_core::{Error, Length, Result, parse_settings};

use crate::{Budget, Config};

/// What the settings alone say.
pub fn write(table: &toml::Table) -> Result<Map<String, Value>> {
    let config: Config = parse_settings("adalora", table.clone())?;
    // PEFT wants its unused `r` at the default, and a positive `total_step`.
    let lora = LoraFields { alpha: config.alpha, dropout: config.dropout, ..LoraFields::read(&Map::new())? };
    let total = config.total_steps.unwrap_or(1);
    let known = |length: Length, field| match config.total_steps {
        Some(total) => length.steps(total, field),
        None => Ok(0),
    };
    let mut map = lora.write();
    let own = [
        ("peft_type", json!("ADALORA")),
        ("init_r", json!(config.initial_rank)),
        ("target_r", json!(config.target_rank)),
        ("tinit", json!(known(config.warmup, "warmup")?)),
        ("tfinal", json!(known(config.fine_tuning, "fine_tuning")?)),
        ("deltaT", json!(config.interval)),
        ("beta1", json!(config.sensitivity_decay)),
        ("beta2", json!(config.uncertainty_decay)),
        ("orth_reg_weight", json!(config.orthogonality)),
        ("total_step", json!(total)),
        ("rank_pattern", Value::Null),
    ];
    map.extend(own.map(|(key, value)| (key.to_owned(), value)));
    Ok(map)
}

/// What only the run knows: its length, and which of the initial triplets are left.
pub fn state<'a>(
    budget: Option<Budget>,
    patterns: impl Iterator<Item = (&'a str, &'a Tensor)>,
) -> Map<String, Value> {
    let mut map = Map::new();
    if let Some(budget) = budget {
        map.insert("tinit".to_owned(), json!(budget.warmup));
        map.insert("tfinal".to_owned(), json!(budget.total - budget.last));
        map.insert("total_step".to_owned(), json!(budget.total));
    }
    let list = |pattern: &Tensor| {
        Vec::<bool>::try_from(pattern.to_device(tch::Device::Cpu)).expect("a vector of booleans")
    };
    let lists: Vec<(String, Vec<bool>)> =
        patterns.map(|(site, pattern)| (format!("{site}.lora_E"), list(pattern))).collect();
    if lists.iter().any(|(_, list)| list.contains(&false)) {
        map.insert("rank_pattern".to_owned(), lists.into_iter().map(|(k, v)| (k, json!(v))).collect());
    }
    map
}

/// The settings; PEFT's defaults where a key is absent.
pub fn read(config: &Map<String, Value>) -> Result<Option<toml::Table>> {
    let lora = LoraFields::read(&config.iter().filter(|(key, _)| *key != "rank_pattern").map(own).collect())?;
    let settings = Config {
        initial_rank: field(config, "init_r")?.unwrap_or(12),
        target_rank: field(config, "target_r")?.unwrap_or(8),
        alpha: lora.alpha,
        dropout: lora.dropout,
        warmup: Length::Steps(field(config, "tinit")?.unwrap_or(0)),
        fine_tuning: Length::Steps(field(config, "tfinal")?.unwrap_or(0)),
        interval: field(config, "deltaT")?.unwrap_or(1),
        sensitivity_decay: field(config, "beta1")?.unwrap_or(0.85),
        uncertainty_decay: field(config, "beta2")?.unwrap_or(0.85),
        orthogonality: field(config, "orth_reg_weight")?.unwrap_or(0.5),
        total_steps: field(config, "total_step")?,
    };
    Ok(Some(toml::Table::try_from(settings).expect("settings are a table")))
}

fn own((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

fn field<T: serde::de::DeserializeOwned>(config: &Map<String, Value>, key: &str) -> Result<Option<T>> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value.clone())
            .map(Some)
            .map_err(|error| Error::config(key, value, error.to_string())),
    }
}
