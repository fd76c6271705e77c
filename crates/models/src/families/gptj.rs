//! GPT-J: one layer norm for attention and feed-forward part, which run side by side; adjacent entries of a head turn.

use peft_core::{Layout, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Design, read};
use crate::activation::Activation;
use crate::attention::AttentionConfig;
use crate::block::Wiring;
use crate::config::{DecoderConfig, Direction, EmbeddingConfig, OutputConfig, StackConfig};
use crate::mlp::MlpConfig;
use crate::names::{AttentionNames, BlockNames, Names};
use crate::norm::{NormConfig, NormKind};
use crate::positions::PositionConfig;
use crate::rotary::{Pairs, RotaryConfig, RotaryScaling};

const NAMES: Names = Names {
    base: "transformer.",
    tokens: "transformer.wte",
    layers: "transformer.h",
    norm: "transformer.ln_f",
    block: BlockNames {
        attention: AttentionNames::separate(["attn.q_proj", "attn.k_proj", "attn.v_proj"], "attn.out_proj"),
        up: &["mlp.fc_in"],
        down: "mlp.fc_out",
        attention_norms: &["ln_1"],
        mlp_norms: &[],
        ..BlockNames::EMPTY
    },
    ..Names::EMPTY
};

#[derive(Deserialize)]
struct GptJ {
    vocab_size: i64,
    n_positions: i64,
    n_embd: i64,
    n_layer: usize,
    n_head: i64,
    rotary_dim: Option<i64>,
    n_inner: Option<i64>,
    activation_function: Option<String>,
    layer_norm_epsilon: Option<f64>,
    initializer_range: Option<f64>,
    tie_word_embeddings: Option<bool>,
}

pub(super) fn parse(json: &Map<String, Value>) -> Result<Design> {
    let gptj: GptJ = read(json)?;
    let activation = gptj.activation_function.as_deref().unwrap_or("gelu_new");
    let head_dim = gptj.n_embd / gptj.n_head.max(1);
    // Absent means 64, `null` every entry.
    let dim = if json.contains_key("rotary_dim") { gptj.rotary_dim.unwrap_or(head_dim) } else { 64 };
    let stack = StackConfig {
        vocab_size: gptj.vocab_size,
        hidden_size: gptj.n_embd,
        layers: gptj.n_layer,
        context: gptj.n_positions,
        norm: NormConfig { kind: NormKind::Layer, eps: gptj.layer_norm_epsilon.unwrap_or(1e-5) },
        attention: AttentionConfig {
            heads: gptj.n_head,
            kv_heads: gptj.n_head,
            head_dim,
            qkv_bias: false,
            out_bias: false,
            head_norms: false,
            scale: None,
            soft_cap: None,
        },
        window: None,
        positions: PositionConfig::Rotary(RotaryConfig {
            theta: 10_000.0,
            scaling: RotaryScaling::None,
            dim,
            pairs: Pairs::Adjacent,
        }),
        mlp: MlpConfig {
            intermediate_size: gptj.n_inner.unwrap_or(4 * gptj.n_embd),
            bias: true,
            activation: Activation::parse("activation_function", activation)?,
        },
        wiring: Wiring::Parallel,
        embedding: EmbeddingConfig::plain(gptj.n_embd),
        direction: Direction::Causal,
        convolution: None,
        final_norm: true,
        layout: Layout::OutIn,
        names: &NAMES,
        initializer_range: gptj.initializer_range.unwrap_or(0.02),
    };
    let tied = gptj.tie_word_embeddings.unwrap_or(false);
    Ok(Design::Decoder(DecoderConfig { stack, output: OutputConfig { tied, bias: true, soft_cap: None } }))
}
