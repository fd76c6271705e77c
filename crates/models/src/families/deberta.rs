//! DeBERTa v2 and v3: BERT with scores from relative positions in the place of learned ones.

use peft_core::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::bert::{BLOCK, Bert};
use super::{Design, read, refuse};
use crate::activation::Activation;
use crate::config::{EmbeddingConfig, EncoderConfig, StackConfig};
use crate::convolution::ConvolutionConfig;
use crate::head::{Dense, HeadConfig, Reads};
use crate::names::{AttentionNames, BlockNames, Names};
use crate::norm::{NormConfig, NormKind};
use crate::positions::PositionConfig;
use crate::relative::{self, RelativeConfig};

const NAMES: Names = Names {
    base: "deberta.",
    tokens: "deberta.embeddings.word_embeddings",
    types: "deberta.embeddings.token_type_embeddings",
    relative: ["deberta.encoder.rel_embeddings", "deberta.encoder.LayerNorm"],
    embedding_norm: "deberta.embeddings.LayerNorm",
    convolution: ["deberta.encoder.conv.conv", "deberta.encoder.conv.LayerNorm"],
    layers: "deberta.encoder.layer",
    block: BlockNames {
        attention: AttentionNames {
            relative: ["attention.self.pos_key_proj", "attention.self.pos_query_proj"],
            ..AttentionNames::separate(
                ["attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj"],
                "attention.output.dense",
            )
        },
        ..BLOCK
    },
    ..Names::EMPTY
};

#[derive(Deserialize)]
struct Deberta {
    layer_norm_eps: Option<f64>,
    relative_attention: Option<bool>,
    max_relative_positions: Option<i64>,
    position_buckets: Option<i64>,
    pos_att_type: Option<Value>,
    share_att_key: Option<bool>,
    norm_rel_ebd: Option<String>,
    conv_kernel_size: Option<i64>,
    conv_groups: Option<i64>,
    conv_act: Option<String>,
    pooler_hidden_act: Option<String>,
}

pub(super) fn parse(json: &Map<String, Value>) -> Result<Design> {
    let (bert, own): (Bert, Deberta) = (read(json)?, read(json)?);
    own.check(json, &bert)?;
    let positive = |n: Option<i64>| n.filter(|n| *n > 0);
    let furthest = positive(own.max_relative_positions).unwrap_or(bert.max_position_embeddings);
    let buckets = positive(own.position_buckets);
    let plain = bert.stack(&NAMES, 0)?;
    let activation = |key: &str, name: &Option<String>, default| {
        Activation::parse(key, name.as_deref().unwrap_or(default))
    };
    let stack = StackConfig {
        norm: NormConfig { kind: NormKind::Layer, eps: own.layer_norm_eps.unwrap_or(1e-7) },
        attention: crate::AttentionConfig {
            scale: Some(relative::scale(plain.attention.head_dim)),
            ..plain.attention.clone()
        },
        positions: PositionConfig::Relative(RelativeConfig {
            span: buckets.unwrap_or(furthest),
            buckets_up_to: buckets.map(|_| furthest),
            shared: own.share_att_key.unwrap_or(false),
            norm: own.norm_rel_ebd.as_deref().is_some_and(|norms| norms.contains("layer_norm")),
        }),
        embedding: EmbeddingConfig {
            token_types: bert.type_vocab_size.unwrap_or(0),
            ..plain.embedding.clone()
        },
        convolution: positive(own.conv_kernel_size)
            .map(|kernel| {
                let activation = activation("conv_act", &own.conv_act, "tanh")?;
                Ok::<_, Error>(ConvolutionConfig { kernel, groups: own.conv_groups.unwrap_or(1), activation })
            })
            .transpose()?,
        ..plain
    };
    let activation = activation("pooler_hidden_act", &own.pooler_hidden_act, "gelu")?;
    let dense = Dense { name: "pooler.dense", activation };
    let head = HeadConfig { reads: Reads::First(dense), out: "classifier" };
    Ok(Design::Encoder(EncoderConfig { stack, head }))
}

impl Deberta {
    /// Refuses what no published checkpoint of v2 or v3 has.
    fn check(&self, json: &Map<String, Value>, bert: &Bert) -> Result<()> {
        let biased = json.get("position_biased_input").and_then(Value::as_bool).unwrap_or(true);
        if biased || !self.relative_attention.unwrap_or(false) {
            let reason = "only relative positions are supported, without learned ones";
            return Err(Error::config("position_biased_input", biased, reason));
        }
        let kinds = match &self.pos_att_type {
            Some(Value::String(kinds)) => kinds.split('|').map(str::trim).map(str::to_lowercase).collect(),
            Some(Value::Array(kinds)) => {
                kinds.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
            }
            _ => Vec::new(),
        };
        if kinds.len() != 2 || !["c2p", "p2c"].iter().all(|kind| kinds.iter().any(|k| k == kind)) {
            let reason = "only `c2p` together with `p2c` is supported";
            return Err(Error::config("pos_att_type", kinds.join("|"), reason));
        }
        refuse(json, "embedding_size", &[bert.hidden_size.into()])?;
        refuse(json, "pooler_hidden_size", &[bert.hidden_size.into()])?;
        refuse(json, "attention_head_size", &[(bert.hidden_size / bert.num_attention_heads.max(1)).into()])
    }
}
