//! Llama 1, 2, 3, 3.x: `config.json` to parts.

use peft_core::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::attention::AttentionConfig;
use crate::config::DecoderConfig;
use crate::mlp::MlpConfig;
use crate::rotary::{RotaryConfig, RotaryScaling};

/// The keys that matter. Others (`use_cache`, `transformers_version`, …) say nothing about the function.
#[derive(Deserialize)]
struct Llama {
    vocab_size: i64,
    hidden_size: i64,
    intermediate_size: i64,
    num_hidden_layers: usize,
    num_attention_heads: i64,
    num_key_value_heads: Option<i64>,
    head_dim: Option<i64>,
    max_position_embeddings: Option<i64>,
    rms_norm_eps: Option<f64>,
    hidden_act: Option<String>,
    attention_bias: Option<bool>,
    attention_dropout: Option<f64>,
    mlp_bias: Option<bool>,
    tie_word_embeddings: Option<bool>,
    initializer_range: Option<f64>,
    rope_parameters: Option<Rope>,
    rope_theta: Option<f64>,
    rope_scaling: Option<Rope>,
}

/// The rotary settings: since version 5 of transformers all in `rope_parameters`, before in `rope_theta` and
/// `rope_scaling` (where the type was once called `type`).
#[derive(Deserialize)]
struct Rope {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

pub(crate) fn parse(json: &Map<String, Value>) -> Result<DecoderConfig> {
    let llama: Llama = serde_json::from_value(Value::Object(json.clone()))
        .map_err(|error| Error::config("config.json", "llama", error.to_string()))?;
    if let Some(act) = llama.hidden_act.as_deref().filter(|act| !["silu", "swish"].contains(act)) {
        return Err(Error::config("hidden_act", act, "only `silu` is supported"));
    }
    if let Some(p) = llama.attention_dropout.filter(|p| *p != 0.0) {
        return Err(Error::config("attention_dropout", p, "dropout on attention weights is not supported"));
    }
    let attention_bias = llama.attention_bias.unwrap_or(false);
    let heads = llama.num_attention_heads;
    Ok(DecoderConfig {
        vocab_size: llama.vocab_size,
        hidden_size: llama.hidden_size,
        layers: llama.num_hidden_layers,
        context: llama.max_position_embeddings.unwrap_or(2048),
        norm_eps: llama.rms_norm_eps.unwrap_or(1e-6),
        attention: AttentionConfig {
            heads,
            kv_heads: llama.num_key_value_heads.unwrap_or(heads),
            head_dim: llama.head_dim.unwrap_or(llama.hidden_size / heads.max(1)),
            qkv_bias: attention_bias,
            out_bias: attention_bias,
        },
        rotary: rotary(llama.rope_parameters, llama.rope_theta, llama.rope_scaling)?,
        mlp: MlpConfig { intermediate_size: llama.intermediate_size, bias: llama.mlp_bias.unwrap_or(false) },
        tied: llama.tie_word_embeddings.unwrap_or(false),
        initializer_range: llama.initializer_range.unwrap_or(0.02),
    })
}

fn rotary(current: Option<Rope>, theta: Option<f64>, legacy: Option<Rope>) -> Result<RotaryConfig> {
    const DEFAULT_THETA: f64 = 10_000.0;
    let rope = current.or(legacy);
    let theta = rope.as_ref().and_then(|rope| rope.rope_theta).or(theta).unwrap_or(DEFAULT_THETA);
    let scaling = match rope {
        Some(rope) => scaling(&rope)?,
        None => RotaryScaling::None,
    };
    Ok(RotaryConfig { theta, scaling })
}

fn scaling(rope: &Rope) -> Result<RotaryScaling> {
    let need = |name: &str, value: Option<f64>| {
        value.ok_or_else(|| Error::config(format!("rope.{name}"), "", "this rope type needs it"))
    };
    match rope.rope_type.as_deref() {
        None | Some("default") => Ok(RotaryScaling::None),
        Some("linear") => Ok(RotaryScaling::Linear { factor: need("factor", rope.factor)? }),
        Some("llama3") => Ok(RotaryScaling::Llama3 {
            factor: need("factor", rope.factor)?,
            low_freq_factor: need("low_freq_factor", rope.low_freq_factor)?,
            high_freq_factor: need("high_freq_factor", rope.high_freq_factor)?,
            original_context: need(
                "original_max_position_embeddings",
                rope.original_max_position_embeddings,
            )?,
        }),
        Some(other) => {
            Err(Error::config("rope_type", other, "supported are `default`, `linear` and `llama3`"))
        }
    }
}
