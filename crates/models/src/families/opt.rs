//! OPT: layer norms before (350m: after) both halves of a block, learned positions from row 2 on.

use peft_core::{Layout, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Design, read, refuse};
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
    tokens: "model.decoder.embed_tokens",
    positions: "model.decoder.embed_positions",
    projections: ["model.decoder.project_in", "model.decoder.project_out"],
    layers: "model.decoder.layers",
    norm: "model.decoder.final_layer_norm",
    block: BlockNames {
        attention: AttentionNames::separate(
            ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
            "self_attn.out_proj",
        ),
        up: &["fc1"],
        down: "fc2",
        attention_norms: &["self_attn_layer_norm"],
        mlp_norms: &["final_layer_norm"],
        ..BlockNames::EMPTY
    },
    ..Names::EMPTY
};

#[derive(Deserialize)]
struct Opt {
    vocab_size: i64,
    hidden_size: i64,
    num_hidden_layers: usize,
    ffn_dim: i64,
    max_position_embeddings: i64,
    num_attention_heads: i64,
    do_layer_norm_before: Option<bool>,
    #[serde(rename = "_remove_final_layer_norm")]
    remove_final_layer_norm: Option<bool>,
    word_embed_proj_dim: Option<i64>,
    activation_function: Option<String>,
    enable_bias: Option<bool>,
    init_std: Option<f64>,
    tie_word_embeddings: Option<bool>,
}

pub(super) fn parse(json: &Map<String, Value>) -> Result<Design> {
    /// Of `torch.nn.LayerNorm`; the config has no key for it.
    const EPS: f64 = 1e-5;
    let opt: Opt = read(json)?;
    refuse(json, "layer_norm_elementwise_affine", &[true.into()])?;
    let before = opt.do_layer_norm_before.unwrap_or(true);
    let bias = opt.enable_bias.unwrap_or(true);
    let stack = StackConfig {
        vocab_size: opt.vocab_size,
        hidden_size: opt.hidden_size,
        layers: opt.num_hidden_layers,
        context: opt.max_position_embeddings,
        norm: NormConfig { kind: NormKind::Layer, eps: EPS },
        attention: AttentionConfig {
            heads: opt.num_attention_heads,
            kv_heads: opt.num_attention_heads,
            head_dim: opt.hidden_size / opt.num_attention_heads.max(1),
            qkv_bias: bias,
            out_bias: bias,
            head_norms: false,
            scale: None,
            soft_cap: None,
        },
        window: None,
        positions: PositionConfig::Learned { offset: 2 },
        mlp: MlpConfig {
            intermediate_size: opt.ffn_dim,
            bias,
            activation: Activation::parse(
                "activation_function",
                opt.activation_function.as_deref().unwrap_or("relu"),
            )?,
        },
        wiring: if before { Wiring::PreNorm } else { Wiring::PostNorm },
        embedding: EmbeddingConfig::plain(opt.word_embed_proj_dim.unwrap_or(opt.hidden_size)),
        direction: Direction::Causal,
        convolution: None,
        final_norm: before && !opt.remove_final_layer_norm.unwrap_or(false),
        layout: Layout::OutIn,
        names: &NAMES,
        initializer_range: opt.init_std.unwrap_or(0.02),
    };
    let output = OutputConfig { tied: opt.tie_word_embeddings.unwrap_or(true), ..OutputConfig::default() };
    Ok(Design::Decoder(DecoderConfig { stack, output }))
}
