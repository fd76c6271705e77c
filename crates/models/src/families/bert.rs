//! BERT and RoBERTa: layer norms after both halves of a block, learned positions, all tokens see all.

use peft_core::{Layout, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Design, read, refuse};
use crate::activation::Activation;
use crate::attention::AttentionConfig;
use crate::block::Wiring;
use crate::config::{Direction, EmbeddingConfig, EncoderConfig, StackConfig};
use crate::head::{Dense, HeadConfig, Reads};
use crate::mlp::MlpConfig;
use crate::names::{AttentionNames, BlockNames, Names};
use crate::norm::{NormConfig, NormKind};
use crate::positions::PositionConfig;

const BERT: Names = Names {
    base: "bert.",
    tokens: "bert.embeddings.word_embeddings",
    types: "bert.embeddings.token_type_embeddings",
    positions: "bert.embeddings.position_embeddings",
    embedding_norm: "bert.embeddings.LayerNorm",
    layers: "bert.encoder.layer",
    block: BLOCK,
    ..Names::EMPTY
};

const ROBERTA: Names = Names {
    base: "roberta.",
    tokens: "roberta.embeddings.word_embeddings",
    types: "roberta.embeddings.token_type_embeddings",
    positions: "roberta.embeddings.position_embeddings",
    embedding_norm: "roberta.embeddings.LayerNorm",
    layers: "roberta.encoder.layer",
    block: BLOCK,
    ..Names::EMPTY
};

pub(super) const BLOCK: BlockNames = BlockNames {
    attention: AttentionNames::separate(
        ["attention.self.query", "attention.self.key", "attention.self.value"],
        "attention.output.dense",
    ),
    up: &["intermediate.dense"],
    down: "output.dense",
    attention_norms: &["attention.output.LayerNorm"],
    mlp_norms: &["output.LayerNorm"],
    ..BlockNames::EMPTY
};

/// What the encoders of this crate have in common.
#[derive(Deserialize)]
pub(super) struct Bert {
    vocab_size: i64,
    pub(super) hidden_size: i64,
    num_hidden_layers: usize,
    pub(super) num_attention_heads: i64,
    intermediate_size: i64,
    pub(super) max_position_embeddings: i64,
    hidden_act: Option<String>,
    pub(super) type_vocab_size: Option<i64>,
    layer_norm_eps: Option<f64>,
    initializer_range: Option<f64>,
    pad_token_id: Option<i64>,
}

pub(super) fn bert(json: &Map<String, Value>) -> Result<Design> {
    let bert: Bert = read(json)?;
    refuse_decoders(json)?;
    let stack = bert.stack(&BERT, 0)?;
    let dense = Dense { name: "bert.pooler.dense", activation: Activation::Tanh };
    let head = HeadConfig { reads: Reads::First(dense), out: "classifier" };
    Ok(Design::Encoder(EncoderConfig { stack, head }))
}

pub(super) fn roberta(json: &Map<String, Value>) -> Result<Design> {
    let roberta: Bert = read(json)?;
    refuse_decoders(json)?;
    // The rows of the table up to that of the padding token are not used.
    let stack = roberta.stack(&ROBERTA, roberta.pad_token_id.unwrap_or(1) + 1)?;
    let dense = Dense { name: "classifier.dense", activation: Activation::Tanh };
    let head = HeadConfig { reads: Reads::First(dense), out: "classifier.out_proj" };
    Ok(Design::Encoder(EncoderConfig { stack, head }))
}

fn refuse_decoders(json: &Map<String, Value>) -> Result<()> {
    refuse(json, "is_decoder", &[false.into()])?;
    refuse(json, "position_embedding_type", &["absolute".into()])
}

impl Bert {
    /// With learned positions from row `first` of their table on.
    pub(super) fn stack(&self, names: &'static Names, first: i64) -> Result<StackConfig> {
        let heads = self.num_attention_heads;
        Ok(StackConfig {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            layers: self.num_hidden_layers,
            context: self.max_position_embeddings - first,
            norm: NormConfig { kind: NormKind::Layer, eps: self.layer_norm_eps.unwrap_or(1e-12) },
            attention: AttentionConfig {
                heads,
                kv_heads: heads,
                head_dim: self.hidden_size / heads.max(1),
                qkv_bias: true,
                out_bias: true,
                head_norms: false,
                scale: None,
                soft_cap: None,
            },
            window: None,
            positions: PositionConfig::Learned { offset: first },
            mlp: MlpConfig {
                intermediate_size: self.intermediate_size,
                bias: true,
                activation: Activation::parse("hidden_act", self.hidden_act.as_deref().unwrap_or("gelu"))?,
            },
            wiring: Wiring::PostNorm,
            embedding: EmbeddingConfig {
                token_types: self.type_vocab_size.unwrap_or(2),
                norm: true,
                ..EmbeddingConfig::plain(self.hidden_size)
            },
            direction: Direction::Both,
            convolution: None,
            final_norm: false,
            layout: Layout::OutIn,
            names,
            initializer_range: self.initializer_range.unwrap_or(0.02),
        })
    }
}
