//! BART: layer norms after every part of a block, learned positions from row 2 on, a decoder that attends to an encoder.

use peft_core::{Layout, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Design, read};
use crate::activation::Activation;
use crate::attention::AttentionConfig;
use crate::block::Wiring;
use crate::config::{Direction, EmbeddingConfig, Seq2SeqConfig, StackConfig};
use crate::mlp::MlpConfig;
use crate::names::{AttentionNames, BlockNames, Names};
use crate::norm::{NormConfig, NormKind};
use crate::positions::PositionConfig;

const BLOCK: BlockNames = BlockNames {
    attention: AttentionNames::separate(
        ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        "self_attn.out_proj",
    ),
    up: &["fc1"],
    down: "fc2",
    attention_norms: &["self_attn_layer_norm"],
    mlp_norms: &["final_layer_norm"],
    ..BlockNames::EMPTY
};

const ENCODER: Names = Names {
    base: "model.",
    tokens: "model.shared",
    positions: "model.encoder.embed_positions",
    embedding_norm: "model.encoder.layernorm_embedding",
    layers: "model.encoder.layers",
    block: BLOCK,
    ..Names::EMPTY
};

const DECODER: Names = Names {
    base: "model.",
    tokens: "model.shared",
    positions: "model.decoder.embed_positions",
    embedding_norm: "model.decoder.layernorm_embedding",
    layers: "model.decoder.layers",
    block: BlockNames {
        cross: Some((
            AttentionNames::separate(
                ["encoder_attn.q_proj", "encoder_attn.k_proj", "encoder_attn.v_proj"],
                "encoder_attn.out_proj",
            ),
            "encoder_attn_layer_norm",
        )),
        ..BLOCK
    },
    ..Names::EMPTY
};

#[derive(Deserialize)]
struct Bart {
    vocab_size: i64,
    max_position_embeddings: i64,
    d_model: i64,
    encoder_layers: usize,
    encoder_ffn_dim: i64,
    encoder_attention_heads: i64,
    decoder_layers: usize,
    decoder_ffn_dim: i64,
    decoder_attention_heads: i64,
    activation_function: Option<String>,
    scale_embedding: Option<bool>,
    init_std: Option<f64>,
    tie_word_embeddings: Option<bool>,
    decoder_start_token_id: Option<i64>,
}

pub(super) fn parse(json: &Map<String, Value>) -> Result<Design> {
    let bart: Bart = read(json)?;
    let encoder = bart.half(bart.encoder_layers, bart.encoder_ffn_dim, bart.encoder_attention_heads)?;
    let decoder = bart.half(bart.decoder_layers, bart.decoder_ffn_dim, bart.decoder_attention_heads)?;
    Ok(Design::Seq2Seq(Seq2SeqConfig {
        encoder: StackConfig { direction: Direction::Both, names: &ENCODER, ..encoder },
        decoder: StackConfig { direction: Direction::Causal, names: &DECODER, ..decoder },
        tied: bart.tie_word_embeddings.unwrap_or(true),
        start_token: bart.decoder_start_token_id.unwrap_or(2),
    }))
}

impl Bart {
    fn half(&self, layers: usize, intermediate_size: i64, heads: i64) -> Result<StackConfig> {
        /// Of `torch.nn.LayerNorm`; the config has no key for it.
        const EPS: f64 = 1e-5;
        let hidden = self.d_model;
        let activation = self.activation_function.as_deref().unwrap_or("gelu");
        let scaled = self.scale_embedding.unwrap_or(false);
        Ok(StackConfig {
            vocab_size: self.vocab_size,
            hidden_size: hidden,
            layers,
            context: self.max_position_embeddings,
            norm: NormConfig { kind: NormKind::Layer, eps: EPS },
            attention: AttentionConfig {
                heads,
                kv_heads: heads,
                head_dim: hidden / heads.max(1),
                qkv_bias: true,
                out_bias: true,
                head_norms: false,
                scale: None,
                soft_cap: None,
            },
            window: None,
            positions: PositionConfig::Learned { offset: 2 },
            mlp: MlpConfig {
                intermediate_size,
                bias: true,
                activation: Activation::parse("activation_function", activation)?,
            },
            wiring: Wiring::PostNorm,
            embedding: EmbeddingConfig {
                scale: if scaled { (hidden as f64).sqrt() } else { 1.0 },
                norm: true,
                ..EmbeddingConfig::plain(hidden)
            },
            direction: Direction::Both,
            convolution: None,
            final_norm: false,
            layout: Layout::OutIn,
            names: &ENCODER,
            initializer_range: self.init_std.unwrap_or(0.02),
        })
    }
}
