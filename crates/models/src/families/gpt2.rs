//! GPT-2: layer norms, learned positions, fused query-key-value projections stored `[in, out]`.

use peft_core::{Layout, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Design, read, refuse};
use crate::activation::Activation;
use crate::attention::AttentionConfig;
use crate::block::Wiring;
use crate::config::{DecoderConfig, Direction, EmbeddingConfig, OutputConfig, StackConfig};
use crate::mlp::MlpConfig;
use crate::names::{AttentionNames, BlockNames, Names, QkvNames};
use crate::norm::{NormConfig, NormKind};
use crate::positions::PositionConfig;

const NAMES: Names = Names {
    base: "transformer.",
    tokens: "transformer.wte",
    positions: "transformer.wpe",
    layers: "transformer.h",
    norm: "transformer.ln_f",
    block: BlockNames {
        attention: AttentionNames {
            qkv: QkvNames::Fused("attn.c_attn"),
            out: "attn.c_proj",
            ..BlockNames::EMPTY.attention
        },
        up: &["mlp.c_fc"],
        down: "mlp.c_proj",
        attention_norms: &["ln_1"],
        mlp_norms: &["ln_2"],
        ..BlockNames::EMPTY
    },
    ..Names::EMPTY
};

#[derive(Deserialize)]
struct Gpt2 {
    vocab_size: i64,
    n_positions: i64,
    n_embd: i64,
    n_layer: usize,
    n_head: i64,
    n_inner: Option<i64>,
    activation_function: Option<String>,
    layer_norm_epsilon: Option<f64>,
    initializer_range: Option<f64>,
    scale_attn_weights: Option<bool>,
    tie_word_embeddings: Option<bool>,
}

pub(super) fn parse(json: &Map<String, Value>) -> Result<Design> {
    let gpt2: Gpt2 = read(json)?;
    refuse(json, "scale_attn_by_inverse_layer_idx", &[false.into()])?;
    refuse(json, "add_cross_attention", &[false.into()])?;
    let activation = gpt2.activation_function.as_deref().unwrap_or("gelu_new");
    let stack = StackConfig {
        vocab_size: gpt2.vocab_size,
        hidden_size: gpt2.n_embd,
        layers: gpt2.n_layer,
        context: gpt2.n_positions,
        norm: NormConfig { kind: NormKind::Layer, eps: gpt2.layer_norm_epsilon.unwrap_or(1e-5) },
        attention: AttentionConfig {
            heads: gpt2.n_head,
            kv_heads: gpt2.n_head,
            head_dim: gpt2.n_embd / gpt2.n_head.max(1),
            qkv_bias: true,
            out_bias: true,
            head_norms: false,
            scale: (!gpt2.scale_attn_weights.unwrap_or(true)).then_some(1.0),
            soft_cap: None,
        },
        window: None,
        positions: PositionConfig::Learned { offset: 0 },
        mlp: MlpConfig {
            intermediate_size: gpt2.n_inner.unwrap_or(4 * gpt2.n_embd),
            bias: true,
            activation: Activation::parse("activation_function", activation)?,
        },
        wiring: Wiring::PreNorm,
        embedding: EmbeddingConfig::plain(gpt2.n_embd),
        direction: Direction::Causal,
        convolution: None,
        final_norm: true,
        layout: Layout::InOut,
        names: &NAMES,
        initializer_range: gpt2.initializer_range.unwrap_or(0.02),
    };
    let output = OutputConfig { tied: gpt2.tie_word_embeddings.unwrap_or(true), ..OutputConfig::default() };
    Ok(Design::Decoder(DecoderConfig { stack, output }))
}
