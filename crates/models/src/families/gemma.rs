//! Gemma 2: norms before and after both halves of a block, soft caps, windows in every other layer.

use peft_core::{Layout, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::llama::RopeKeys;
use super::{Design, read, refuse, window};
use crate::activation::Activation;
use crate::attention::AttentionConfig;
use crate::block::Wiring;
use crate::config::{DecoderConfig, Direction, EmbeddingConfig, OutputConfig, StackConfig};
use crate::mlp::MlpConfig;
use crate::names::{AttentionNames, BlockNames, Names};
use crate::norm::{NormConfig, NormKind};
use crate::positions::PositionConfig;

const NAMES: Names = Names {
    base: "model.",
    tokens: "model.embed_tokens",
    layers: "model.layers",
    norm: "model.norm",
    block: BlockNames {
        attention: AttentionNames::separate(
            ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
            "self_attn.o_proj",
        ),
        up: &["mlp.gate_proj", "mlp.up_proj"],
        down: "mlp.down_proj",
        attention_norms: &["input_layernorm", "post_attention_layernorm"],
        mlp_norms: &["pre_feedforward_layernorm", "post_feedforward_layernorm"],
        ..BlockNames::EMPTY
    },
    ..Names::EMPTY
};

/// Defaults are those of transformers.
#[derive(Deserialize)]
struct Gemma2 {
    vocab_size: i64,
    hidden_size: i64,
    intermediate_size: i64,
    num_hidden_layers: usize,
    num_attention_heads: i64,
    num_key_value_heads: i64,
    head_dim: Option<i64>,
    hidden_activation: Option<String>,
    max_position_embeddings: Option<i64>,
    initializer_range: Option<f64>,
    rms_norm_eps: Option<f64>,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    query_pre_attn_scalar: Option<f64>,
    sliding_window: Option<i64>,
    layer_types: Option<Vec<String>>,
    final_logit_softcapping: Option<f64>,
    attn_logit_softcapping: Option<f64>,
}

pub(super) fn parse(json: &Map<String, Value>) -> Result<Design> {
    let gemma: Gemma2 = read(json)?;
    refuse(json, "use_bidirectional_attention", &[false.into()])?;
    // `null` switches off what an absent key leaves at its default.
    let unless_null = |key: &str, value: Option<f64>, default: f64| {
        if json.contains_key(key) { value } else { Some(default) }
    };
    let head_dim = gemma.head_dim.unwrap_or(256);
    let size = if json.contains_key("sliding_window") { gemma.sliding_window } else { Some(4096) };
    let bias = gemma.attention_bias.unwrap_or(false);
    let activation = gemma.hidden_activation.as_deref().unwrap_or("gelu_pytorch_tanh");
    let stack = StackConfig {
        vocab_size: gemma.vocab_size,
        hidden_size: gemma.hidden_size,
        layers: gemma.num_hidden_layers,
        context: gemma.max_position_embeddings.unwrap_or(8192),
        norm: NormConfig { kind: NormKind::RmsPlusOne, eps: gemma.rms_norm_eps.unwrap_or(1e-6) },
        attention: AttentionConfig {
            heads: gemma.num_attention_heads,
            kv_heads: gemma.num_key_value_heads,
            head_dim,
            qkv_bias: bias,
            out_bias: bias,
            head_norms: false,
            scale: Some(gemma.query_pre_attn_scalar.unwrap_or(256.0).powf(-0.5)),
            soft_cap: unless_null("attn_logit_softcapping", gemma.attn_logit_softcapping, 50.0),
        },
        window: window(size, gemma.layer_types.as_deref(), gemma.num_hidden_layers, |layer| layer % 2 == 0)?,
        positions: PositionConfig::Rotary(read::<RopeKeys>(json)?.config(head_dim)?),
        mlp: MlpConfig {
            intermediate_size: gemma.intermediate_size,
            bias: false,
            activation: Activation::parse("hidden_activation", activation)?,
        },
        wiring: Wiring::Sandwich,
        embedding: EmbeddingConfig {
            scale: (gemma.hidden_size as f64).sqrt(),
            ..EmbeddingConfig::plain(gemma.hidden_size)
        },
        direction: Direction::Causal,
        convolution: None,
        final_norm: true,
        layout: Layout::OutIn,
        names: &NAMES,
        initializer_range: gemma.initializer_range.unwrap_or(0.02),
    };
    let output = OutputConfig {
        tied: gemma.tie_word_embeddings.unwrap_or(true),
        bias: false,
        soft_cap: unless_null("final_logit_softcapping", gemma.final_logit_softcapping, 30.0),
    };
    Ok(Design::Decoder(DecoderConfig { stack, output }))
}
