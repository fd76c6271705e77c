//! The part of `adapter_config.json` that all methods of PEFT type `LORA` share.

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use crate::{Error, Result};

/// Settings that every method of the family has.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraFields {
    /// r.
    pub rank: i64,
    /// α.
    pub alpha: f64,
    /// Dropout probability.
    pub dropout: f64,
    /// r by module.
    pub rank_pattern: IndexMap<String, i64>,
    /// α by module.
    pub alpha_pattern: IndexMap<String, f64>,
}

impl LoraFields {
    /// The keys as PEFT 0.10 wrote them, so that old readers accept them too.
    pub fn write(&self) -> Map<String, Value> {
        let value = json!({
            "peft_type": "LORA",
            "r": self.rank,
            "lora_alpha": number(self.alpha),
            "lora_dropout": self.dropout,
            "rank_pattern": self.rank_pattern,
            "alpha_pattern": self.alpha_pattern.iter().map(|(k, v)| (k.clone(), number(*v))).collect::<Map<_, _>>(),
            "init_lora_weights": true,
            "use_rslora": false,
            "use_dora": false,
            "bias": "none",
            "modules_to_save": null,
            "layer_replication": null,
            "loftq_config": {},
            "megatron_config": null,
            "megatron_core": "megatron.core",
        });
        let Value::Object(map) = value else { unreachable!("an object literal") };
        map
    }

    /// Reads them back; PEFT's defaults where a key is absent.
    ///
    /// # Errors
    /// [`Error::Config`] for a value of the wrong type.
    pub fn read(config: &Map<String, Value>) -> Result<Self> {
        Ok(Self {
            rank: field(config, "r")?.unwrap_or(8),
            alpha: field(config, "lora_alpha")?.unwrap_or(8.0),
            dropout: field(config, "lora_dropout")?.unwrap_or(0.0),
            rank_pattern: field(config, "rank_pattern")?.unwrap_or_default(),
            alpha_pattern: field(config, "alpha_pattern")?.unwrap_or_default(),
        })
    }

    /// Keys that [`Self::read`] understands, and the flags that tell the methods of the type apart.
    pub const UNDERSTOOD: [&'static str; 7] =
        ["r", "lora_alpha", "lora_dropout", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora"];
}

/// Whether a flag of `adapter_config.json` is set.
pub fn flag(config: &Map<String, Value>, key: &str) -> bool {
    config.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// Whether an `adapter_config.json` describes adapters that start from `B = 0` over the base as it is; not so PiSSA,
/// OLoRA and others that `init_lora_weights` names.
pub fn starts_from_zero(config: &Map<String, Value>) -> bool {
    config.get("init_lora_weights").is_none_or(|v| v.is_boolean() || v.is_null() || v == "gaussian")
}

fn field<T: serde::de::DeserializeOwned>(config: &Map<String, Value>, key: &str) -> Result<Option<T>> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value.clone())
            .map(Some)
            .map_err(|error| Error::config(key, value, error.to_string())),
    }
}

/// PEFT writes integers where it can, and some readers insist.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}
