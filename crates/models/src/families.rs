//! Model families: mappings from `config.json` to parts.
//!
//! Rates of dropout in these configs belong to pretraining and are never applied: what a run drops, its method says.

mod bart;
mod bert;
mod deberta;
mod gemma;
mod gpt2;
mod gptj;
mod llama;
mod opt;

use peft_core::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::config::{DecoderConfig, EncoderConfig, Seq2SeqConfig, StackConfig, Window};

/// What kind of model a config describes.
#[derive(Clone, Debug)]
pub(crate) enum Design {
    Decoder(DecoderConfig),
    Encoder(EncoderConfig),
    Seq2Seq(Seq2SeqConfig),
}

/// A mapping from `config.json` to parts.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) model_type: &'static str,
    /// The class of transformers.
    pub(crate) architecture: &'static str,
    /// The key of the number of layers.
    pub(crate) layers_key: &'static str,
    pub(crate) parse: fn(&Map<String, Value>) -> Result<Design>,
}

/// All of them.
pub(crate) static ALL: [Family; 12] = [
    family("llama", "LlamaForCausalLM", "num_hidden_layers", llama::llama),
    family("mistral", "MistralForCausalLM", "num_hidden_layers", llama::mistral),
    family("qwen2", "Qwen2ForCausalLM", "num_hidden_layers", llama::qwen2),
    family("qwen3", "Qwen3ForCausalLM", "num_hidden_layers", llama::qwen3),
    family("gemma2", "Gemma2ForCausalLM", "num_hidden_layers", gemma::parse),
    family("gpt2", "GPT2LMHeadModel", "n_layer", gpt2::parse),
    family("gptj", "GPTJForCausalLM", "n_layer", gptj::parse),
    family("opt", "OPTForCausalLM", "num_hidden_layers", opt::parse),
    family("bert", "BertForSequenceClassification", "num_hidden_layers", bert::bert),
    family("roberta", "RobertaForSequenceClassification", "num_hidden_layers", bert::roberta),
    family("deberta-v2", "DebertaV2ForSequenceClassification", "num_hidden_layers", deberta::parse),
    family("bart", "BartForConditionalGeneration", "decoder_layers", bart::parse),
];

const fn family(
    model_type: &'static str,
    architecture: &'static str,
    layers_key: &'static str,
    parse: fn(&Map<String, Value>) -> Result<Design>,
) -> Family {
    Family { model_type, architecture, layers_key, parse }
}

impl Design {
    pub(crate) fn stacks(&self) -> Vec<&StackConfig> {
        match self {
            Self::Decoder(decoder) => vec![&decoder.stack],
            Self::Encoder(encoder) => vec![&encoder.stack],
            Self::Seq2Seq(both) => vec![&both.encoder, &both.decoder],
        }
    }
}

/// The keys that a family reads. Others (`use_cache`, `transformers_version`, …) say nothing about the function.
fn read<T: DeserializeOwned>(json: &Map<String, Value>) -> Result<T> {
    let name = json.get("model_type").and_then(Value::as_str).unwrap_or_default();
    serde_json::from_value(Value::Object(json.clone()))
        .map_err(|error| Error::config("config.json", name, error.to_string()))
}

/// Refuses settings that change the function and are not understood.
fn refuse(json: &Map<String, Value>, key: &str, harmless: &[Value]) -> Result<()> {
    match json.get(key).filter(|value| !value.is_null() && !harmless.contains(value)) {
        Some(value) => Err(Error::config(key, value, "this setting is not supported")),
        None => Ok(()),
    }
}

/// The layers with a window: those that `layer_types` says, or else those of `otherwise`.
fn window(
    size: Option<i64>,
    layer_types: Option<&[String]>,
    layers: usize,
    otherwise: impl Fn(usize) -> bool,
) -> Result<Option<Window>> {
    let Some(size) = size else { return Ok(None) };
    let windowed = |kind: &String| match kind.as_str() {
        "sliding_attention" => Ok(true),
        "full_attention" => Ok(false),
        other => Err(Error::config("layer_types", other, "known are full_attention and sliding_attention")),
    };
    let layers: Vec<bool> = match layer_types {
        Some(types) => types.iter().map(windowed).collect::<Result<_>>()?,
        None => (0..layers).map(otherwise).collect(),
    };
    Ok(layers.contains(&true).then_some(Window { size, layers }))
}
