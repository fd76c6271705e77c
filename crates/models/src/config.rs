//! What a model is made of, whatever family it belongs to.

use peft_core::{Error, Layout, Result};
use serde_json::{Map, Value};
use tch::Kind;

use crate::attention::AttentionConfig;
use crate::block::Wiring;
use crate::convolution::ConvolutionConfig;
use crate::families::{self, Design, Family};
use crate::head::{HeadConfig, Reads};
use crate::mlp::MlpConfig;
use crate::names::Names;
use crate::norm::NormConfig;
use crate::positions::PositionConfig;
use crate::weights::LinearShape;

/// The parts of a stack of blocks and their sizes: a decoder, an encoder, or one half of an encoder-decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct StackConfig {
    /// Rows of the embedding.
    pub vocab_size: i64,
    /// Width of the residual stream H.
    pub hidden_size: i64,
    /// Number of blocks.
    pub layers: usize,
    /// Longest sequence, tokens.
    pub context: i64,
    /// All norms of the stack.
    pub norm: NormConfig,
    /// Self-attention.
    pub attention: AttentionConfig,
    /// Layers that see only the last tokens.
    pub window: Option<Window>,
    /// Positions.
    pub positions: PositionConfig,
    /// Feed-forward part.
    pub mlp: MlpConfig,
    /// Where the norms of a block stand.
    pub wiring: Wiring,
    /// What is done to embeddings.
    pub embedding: EmbeddingConfig,
    /// Which tokens see which.
    pub direction: Direction,
    /// A convolution beside the first block.
    pub convolution: Option<ConvolutionConfig>,
    /// Whether the last block's output is normalized.
    pub final_norm: bool,
    /// How linear layers are stored.
    pub layout: Layout,
    /// What tensors are called.
    pub(crate) names: &'static Names,
    /// σ of freshly drawn weights.
    pub initializer_range: f64,
}

/// What is done to embeddings before the first block.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingConfig {
    /// Columns of the table; where they are not `hidden_size`, projections lead in and out (OPT 350m).
    pub size: i64,
    /// Factor on the rows of tokens; 1 for most families.
    pub scale: f64,
    /// Rows of the table of token types; 0 where types are not told apart.
    pub token_types: i64,
    /// Whether the sum is normalized.
    pub norm: bool,
}

impl EmbeddingConfig {
    /// Rows of `size` columns as they are.
    pub fn plain(size: i64) -> Self {
        Self { size, scale: 1.0, token_types: 0, norm: false }
    }
}

/// Which tokens of a row see which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Each sees those before it.
    Causal,
    /// All see all.
    Both,
}

/// Attention to the last tokens only: position i sees `i − size + 1 ..= i`.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Tokens seen, the own one included.
    pub size: i64,
    /// For every layer, whether it has the window.
    pub layers: Vec<bool>,
}

/// A decoder-only language model.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// Embedding to final norm.
    pub stack: StackConfig,
    /// Hidden states to logits.
    pub output: OutputConfig,
}

/// An encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Embedding to the last block.
    pub stack: StackConfig,
    /// Hidden states to classes.
    pub head: HeadConfig,
}

/// An encoder and a decoder that attends to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seq2SeqConfig {
    /// Reads the source.
    pub encoder: StackConfig,
    /// Writes the target.
    pub decoder: StackConfig,
    /// Whether the output head is the embedding.
    pub tied: bool,
    /// The token before the first of a target.
    pub start_token: i64,
}

/// The output head of a language model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OutputConfig {
    /// Whether the output head is the embedding.
    pub tied: bool,
    /// Whether it has a bias.
    pub bias: bool,
    /// c of `c·tanh(z/c)` on the logits z.
    pub soft_cap: Option<f64>,
}

/// A `config.json` and what it means.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    json: Map<String, Value>,
    design: Design,
    family: &'static Family,
}

impl ModelConfig {
    /// Understands the content of a `config.json`.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a `model_type` that is not supported, [`Error::Config`] for a setting that is not.
    pub fn parse(json: Map<String, Value>) -> Result<Self> {
        let Some(model_type) = json.get("model_type").and_then(Value::as_str) else {
            return Err(Error::config("model_type", "", "the model's config names no model type"));
        };
        let Some(family) = families::ALL.iter().find(|family| family.model_type == model_type) else {
            return Err(Error::Unknown {
                what: "model type".to_owned(),
                name: model_type.to_owned(),
                known: Self::families().map(str::to_owned).collect(),
            });
        };
        if let Some(quantization) = json.get("quantization_config").filter(|value| !value.is_null()) {
            let says = |key: &str| quantization.get(key).and_then(Value::as_str).unwrap_or_default();
            if says("quant_method") != "bitsandbytes" || says("bnb_4bit_quant_type") != "nf4" {
                let reason =
                    "of quantized checkpoints only NF4 of bitsandbytes is read; give the full-precision one";
                return Err(Error::config("quantization_config", quantization, reason));
            }
        }
        let design = (family.parse)(&json)?;
        for stack in design.stacks() {
            stack.check()?;
        }
        Ok(Self { json, design, family })
    }

    /// Its layers; those of the encoder where there are two stacks.
    pub fn layers(&self) -> usize {
        self.stack().layers
    }

    /// The same with another number of layers, the first ones of those that differ.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn with_layers(&self, layers: usize) -> Result<Self> {
        let mut json = self.json.clone();
        json.insert(self.family.layers_key.to_owned(), layers.into());
        if let Some(types) = json.get_mut("layer_types").and_then(Value::as_array_mut) {
            types.truncate(layers);
        }
        Self::parse(json)
    }

    /// The `model_type`s that are understood.
    pub fn families() -> impl Iterator<Item = &'static str> {
        families::ALL.iter().map(|family| family.model_type)
    }

    /// The content of `config.json`.
    pub fn json(&self) -> &Map<String, Value> {
        &self.json
    }

    /// The parts of a decoder.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it is another kind of model.
    pub fn decoder(&self) -> Result<&DecoderConfig> {
        match &self.design {
            Design::Decoder(decoder) => Ok(decoder),
            Design::Encoder(_) | Design::Seq2Seq(_) => Err(self.unfit("a decoder-only language model")),
        }
    }

    /// The parts of an encoder.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it is another kind of model.
    pub fn encoder(&self) -> Result<&EncoderConfig> {
        match &self.design {
            Design::Encoder(encoder) => Ok(encoder),
            Design::Decoder(_) | Design::Seq2Seq(_) => Err(self.unfit("an encoder")),
        }
    }

    /// The parts of an encoder-decoder.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it is another kind of model.
    pub fn seq2seq(&self) -> Result<&Seq2SeqConfig> {
        match &self.design {
            Design::Seq2Seq(both) => Ok(both),
            Design::Decoder(_) | Design::Encoder(_) => Err(self.unfit("an encoder-decoder")),
        }
    }

    /// The stack of a model with one.
    pub(crate) fn stack(&self) -> &StackConfig {
        self.design.stacks()[0]
    }

    /// The head with which it classifies.
    pub(crate) fn head(&self) -> Result<HeadConfig> {
        match &self.design {
            Design::Decoder(_) => Ok(HeadConfig { reads: Reads::Last, out: "score" }),
            Design::Encoder(encoder) => Ok(encoder.head.clone()),
            Design::Seq2Seq(_) => Err(self.unfit("a decoder or an encoder")),
        }
    }

    /// The module that a classifier of this family adds to the body: what is trained with it and saved whole.
    ///
    /// # Errors
    /// If no classifier is built on this family.
    pub fn head_module(&self) -> Result<&'static str> {
        let out = self.head()?.out;
        Ok(out.split_once('.').map_or(out, |(module, _)| module))
    }

    fn unfit(&self, wanted: &str) -> Error {
        let reason = format!("{wanted} is wanted here");
        Error::Unsupported { what: format!("a model of type `{}`", self.family.model_type), reason }
    }

    pub(crate) fn json_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.json
    }

    /// The class of transformers that computes it.
    pub fn architecture(&self) -> &'static str {
        self.family.architecture
    }

    /// The class of transformers for another task: `BertForSequenceClassification`.
    pub(crate) fn architecture_for(&self, task: &str) -> String {
        let class = self.family.architecture;
        let end = ["For", "LMHead"].iter().filter_map(|word| class.find(word)).min().unwrap_or(class.len());
        format!("{}For{task}", &class[..end])
    }

    /// What the names of tensors begin with where the whole model is saved.
    pub(crate) fn base(&self) -> &'static str {
        self.design.stacks()[0].names.base
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

impl StackConfig {
    /// The shape of a linear layer of the stack.
    pub(crate) fn linear(&self, out_features: i64, in_features: i64, bias: bool) -> LinearShape {
        LinearShape { out_features, in_features, bias, layout: self.layout }
    }

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
            ("sliding_window", self.window.as_ref().map_or(1, |window| window.size)),
        ];
        if let Some((name, size)) = sizes.into_iter().find(|(_, size)| *size < 1) {
            return Err(Error::config(name, size, "must be at least 1"));
        }
        if heads % kv_heads != 0 {
            let reason = format!("must divide the {heads} query heads");
            return Err(Error::config("num_key_value_heads", kv_heads, reason));
        }
        if let Some(window) = &self.window
            && window.layers.len() != self.layers
        {
            let reason = format!("the model has {} layers", self.layers);
            return Err(Error::config("layer_types", format!("{} entries", window.layers.len()), reason));
        }
        if let PositionConfig::Rotary(rotary) = &self.positions
            && (rotary.dim % 2 != 0 || rotary.dim > head_dim)
        {
            let reason = format!("rotary positions turn pairs of at most {head_dim} entries");
            return Err(Error::config("head_dim", rotary.dim, reason));
        }
        Ok(())
    }
}
