//! What a decoder is made of, whatever family it belongs to.

use peft_core::{Error, Result};
use serde_json::{Map, Value};
use tch::Kind;

use crate::attention::AttentionConfig;
use crate::llama;
use crate::mlp::MlpConfig;
use crate::rotary::RotaryConfig;

/// The parts of a decoder and their sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// Rows of the embedding.
    pub vocab_size: i64,
    /// Width of the residual stream H.
    pub hidden_size: i64,
    /// Number of blocks.
    pub layers: usize,
    /// Longest sequence, tokens.
    pub context: i64,
    /// ε of the norms.
    pub norm_eps: f64,
    /// Self-attention.
    pub attention: AttentionConfig,
    /// Positions.
    pub rotary: RotaryConfig,
    /// Feed-forward part.
    pub mlp: MlpConfig,
    /// Whether the output head is the embedding.
    pub tied: bool,
    /// σ of freshly drawn weights.
    pub initializer_range: f64,
}

/// A `config.json` and what it means.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    json: Map<String, Value>,
    decoder: DecoderConfig,
    architecture: &'static str,
}

/// A mapping from `config.json` to parts.
struct Family {
    model_type: &'static str,
    /// The class of transformers.
    architecture: &'static str,
    parse: fn(&Map<String, Value>) -> Result<DecoderConfig>,
}

const FAMILIES: [Family; 1] =
    [Family { model_type: "llama", architecture: "LlamaForCausalLM", parse: llama::parse }];

impl ModelConfig {
    /// Understands the content of a `config.json`.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a `model_type` that is not supported, [`Error::Config`] for a setting that is not.
    pub fn parse(json: Map<String, Value>) -> Result<Self> {
        let Some(model_type) = json.get("model_type").and_then(Value::as_str) else {
            return Err(Error::config("model_type", "", "the model's config names no model type"));
        };
        let Some(family) = FAMILIES.iter().find(|family| family.model_type == model_type) else {
            return Err(Error::Unknown {
                what: "model type".to_owned(),
                name: model_type.to_owned(),
                known: FAMILIES.iter().map(|family| family.model_type.to_owned()).collect(),
            });
        };
        if let Some(quantization) = json.get("quantization_config").filter(|value| !value.is_null()) {
            let reason = "quantized checkpoints are not read; give the full-precision one";
            return Err(Error::config("quantization_config", quantization, reason));
        }
        let decoder = (family.parse)(&json)?;
        decoder.check()?;
        Ok(Self { json, decoder, architecture: family.architecture })
    }

    /// The `model_type`s that are understood.
    pub fn families() -> impl Iterator<Item = &'static str> {
        FAMILIES.iter().map(|family| family.model_type)
    }

    /// The content of `config.json`.
    pub fn json(&self) -> &Map<String, Value> {
        &self.json
    }

    /// Its meaning.
    pub fn decoder(&self) -> &DecoderConfig {
        &self.decoder
    }

    /// The class of transformers that computes it.
    pub fn architecture(&self) -> &'static str {
        self.architecture
    }

    /// The kind in which the checkpoint was saved; f32 where the config does not say.
    pub fn kind(&self) -> Kind {
        let stated = ["dtype", "torch_dtype"].into_iter().find_map(|key| self.json.get(key)?.as_str());
        match stated {
            Some("bfloat16") => Kind::BFloat16,
            Some("float16") => Kind::Half,
            _ => Kind::Float,
        }
    }
}

impl DecoderConfig {
    fn check(&self) -> Result<()> {
        let AttentionConfig { heads, kv_heads, head_dim, .. } = self.attention;
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.layers as i64),
            ("max_position_embeddings", self.context),
            ("num_attention_heads", heads),
            ("num_key_value_heads", kv_heads),
            ("head_dim", head_dim),
            ("intermediate_size", self.mlp.intermediate_size),
        ];
        if let Some((name, size)) = sizes.into_iter().find(|(_, size)| *size < 1) {
            return Err(Error::config(name, size, "must be at least 1"));
        }
        if heads % kv_heads != 0 {
            let reason = format!("must divide the {heads} query heads");
            return Err(Error::config("num_key_value_heads", kv_heads, reason));
        }
        if head_dim % 2 != 0 {
            return Err(Error::config(
                "head_dim",
                head_dim,
                "rotary positions turn pairs, so it must be even",
            ));
        }
        Ok(())
    }
}
