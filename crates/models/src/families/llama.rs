//! Llama 1, 2, 3, 3.x, Mistral, Qwen 2, 2.5 and 3: RMS norms, rotary positions, gated feed-forward parts.

use peft_core::{Error, Layout, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Design, read, window};
use crate::activation::Activation;
use crate::attention::AttentionConfig;
use crate::block::Wiring;
use crate::config::{DecoderConfig, Direction, EmbeddingConfig, OutputConfig, StackConfig, Window};
use crate::mlp::MlpConfig;
use crate::names::{AttentionNames, BlockNames, Names};
use crate::norm::{NormConfig, NormKind};
use crate::positions::PositionConfig;
use crate::rotary::{Pairs, RotaryConfig, RotaryScaling};

const NAMES: Names = Names {
    base: "model.",
    tokens: "model.embed_tokens",
    layers: "model.layers",
    norm: "model.norm",
    block: BlockNames {
        attention: AttentionNames {
            head_norms: ["self_attn.q_norm", "self_attn.k_norm"],
            ..AttentionNames::separate(
                ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
                "self_attn.o_proj",
            )
        },
        up: &["mlp.gate_proj", "mlp.up_proj"],
        down: "mlp.down_proj",
        attention_norms: &["input_layernorm"],
        mlp_norms: &["post_attention_layernorm"],
        ..BlockNames::EMPTY
    },
    ..Names::EMPTY
};

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
    mlp_bias: Option<bool>,
    tie_word_embeddings: Option<bool>,
    initializer_range: Option<f64>,
    sliding_window: Option<i64>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
}

/// The rotary settings: since version 5 of transformers all in `rope_parameters`, before in `rope_theta` and
/// `rope_scaling` (where the type was once called `type`).
#[derive(Deserialize)]
pub(super) struct RopeKeys {
    rope_parameters: Option<Rope>,
    rope_theta: Option<f64>,
    rope_scaling: Option<Rope>,
}

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

/// What the families of this file differ in.
struct Traits {
    /// Where the config does not say.
    context: i64,
    kv_heads: i64,
    head_dim: i64,
    qkv_bias: bool,
    head_norms: bool,
    window: Option<Window>,
}

pub(super) fn llama(json: &Map<String, Value>) -> Result<Design> {
    let llama: Llama = read(json)?;
    let own = llama.traits();
    let qkv_bias = llama.attention_bias.unwrap_or(false);
    llama.design(json, Traits { qkv_bias, ..own })
}

/// Where a key is absent, the default of transformers holds; `null` says that there is no window.
pub(super) fn mistral(json: &Map<String, Value>) -> Result<Design> {
    let mistral: Llama = read(json)?;
    let size = if json.contains_key("sliding_window") { mistral.sliding_window } else { Some(4096) };
    let window = window(size, mistral.layer_types.as_deref(), mistral.num_hidden_layers, |_| true)?;
    let own = mistral.traits();
    let kv_heads = if json.contains_key("num_key_value_heads") { own.kv_heads } else { 8 };
    mistral.design(json, Traits { context: 131_072, kv_heads, window, ..own })
}

pub(super) fn qwen2(json: &Map<String, Value>) -> Result<Design> {
    let qwen: Llama = read(json)?;
    let window = qwen.late_window()?;
    let own = qwen.traits();
    qwen.design(json, Traits { context: 32_768, qkv_bias: true, window, ..own })
}

pub(super) fn qwen3(json: &Map<String, Value>) -> Result<Design> {
    let qwen: Llama = read(json)?;
    let (head_dim, qkv_bias) = (qwen.head_dim.unwrap_or(128), qwen.attention_bias.unwrap_or(false));
    let window = qwen.late_window()?;
    let own = qwen.traits();
    qwen.design(json, Traits { context: 32_768, head_dim, qkv_bias, head_norms: true, window, ..own })
}

impl Llama {
    /// Those of Llama.
    fn traits(&self) -> Traits {
        let heads = self.num_attention_heads;
        Traits {
            context: 2048,
            kv_heads: self.num_key_value_heads.unwrap_or(heads),
            head_dim: self.head_dim.unwrap_or(self.hidden_size / heads.max(1)),
            qkv_bias: false,
            head_norms: false,
            window: None,
        }
    }

    /// Qwen's window: off unless asked for, and then in the layers from `max_window_layers` on.
    fn late_window(&self) -> Result<Option<Window>> {
        let size = self.use_sliding_window.unwrap_or(false).then(|| self.sliding_window.unwrap_or(4096));
        let first = self.max_window_layers.unwrap_or(28);
        window(size, self.layer_types.as_deref(), self.num_hidden_layers, |layer| layer >= first)
    }

    fn design(self, json: &Map<String, Value>, traits: Traits) -> Result<Design> {
        let out_bias = self.attention_bias.unwrap_or(false);
        let stack = StackConfig {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            layers: self.num_hidden_layers,
            context: self.max_position_embeddings.unwrap_or(traits.context),
            norm: NormConfig { kind: NormKind::Rms, eps: self.rms_norm_eps.unwrap_or(1e-6) },
            attention: AttentionConfig {
                heads: self.num_attention_heads,
                kv_heads: traits.kv_heads,
                head_dim: traits.head_dim,
                qkv_bias: traits.qkv_bias,
                out_bias,
                head_norms: traits.head_norms,
                scale: None,
                soft_cap: None,
            },
            window: traits.window,
            positions: PositionConfig::Rotary(read::<RopeKeys>(json)?.config(traits.head_dim)?),
            mlp: MlpConfig {
                intermediate_size: self.intermediate_size,
                bias: self.mlp_bias.unwrap_or(false),
                activation: Activation::parse("hidden_act", self.hidden_act.as_deref().unwrap_or("silu"))?,
            },
            wiring: Wiring::PreNorm,
            embedding: EmbeddingConfig::plain(self.hidden_size),
            direction: Direction::Causal,
            convolution: None,
            final_norm: true,
            layout: Layout::OutIn,
            names: &NAMES,
            initializer_range: self.initializer_range.unwrap_or(0.02),
        };
        let output =
            OutputConfig { tied: self.tie_word_embeddings.unwrap_or(false), ..OutputConfig::default() };
        Ok(Design::Decoder(DecoderConfig { stack, output }))
    }
}

impl RopeKeys {
    /// For heads of `dim` entries, all of which turn.
    pub(super) fn config(self, dim: i64) -> Result<RotaryConfig> {
        const DEFAULT_THETA: f64 = 10_000.0;
        let rope = self.rope_parameters.or(self.rope_scaling);
        let theta =
            rope.as_ref().and_then(|rope| rope.rope_theta).or(self.rope_theta).unwrap_or(DEFAULT_THETA);
        let scaling = rope.as_ref().map_or(Ok(RotaryScaling::None), Rope::scaling)?;
        Ok(RotaryConfig { theta, scaling, dim, pairs: Pairs::Halves })
    }
}

impl Rope {
    fn scaling(&self) -> Result<RotaryScaling> {
        let need = |name: &str, value: Option<f64>| {
            value.ok_or_else(|| Error::config(format!("rope.{name}"), "", "this rope type needs it"))
        };
        match self.rope_type.as_deref() {
            None | Some("default") => Ok(RotaryScaling::None),
            Some("linear") => Ok(RotaryScaling::Linear { factor: need("factor", self.factor)? }),
            Some("llama3") => Ok(RotaryScaling::Llama3 {
                factor: need("factor", self.factor)?,
                low_freq_factor: need("low_freq_factor", self.low_freq_factor)?,
                high_freq_factor: need("high_freq_factor", self.high_freq_factor)?,
                original_context: need(
                    "original_max_position_embeddings",
                    self.original_max_position_embeddings,
                )?,
            }),
            Some(other) => {
                Err(Error::config("rope_type", other, "supported are `default`, `linear` and `llama3`"))
            }
        }
    }
}
