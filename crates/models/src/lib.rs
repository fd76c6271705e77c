#![doc = include_str!("../README.md")]

mod activation;
mod attention;
mod beams;
mod block;
mod body;
mod cache;
mod causal;
mod checkpoint;
mod classifier;
mod config;
mod convolution;
mod decoder;
mod embedding;
mod families;
mod files;
mod generate;
mod head;
mod hub;
mod loss;
mod mlp;
mod names;
mod norm;
mod positions;
mod recompute;
mod relative;
mod rotary;
mod rows;
mod sampling;
mod save;
mod seq2seq;
mod sequence;
mod shared_input;
mod span;
mod stack;
mod step;
mod tokenizer;
mod vocabulary;
mod weights;

pub use activation::Activation;
pub use attention::AttentionConfig;
pub use beams::{BeamSearch, Hypothesis, Stop};
pub use block::Wiring;
pub use classifier::{Classifier, HeadSource, Rows};
pub use config::{
    DecoderConfig, Direction, EmbeddingConfig, EncoderConfig, ModelConfig, OutputConfig, Seq2SeqConfig,
    StackConfig, Window,
};
pub use convolution::ConvolutionConfig;
pub use decoder::Decoder;
pub use files::{Builtin, ModelFiles, ModelSource};
pub use generate::{Completion, Finish, Generation, NewToken, Watch};
pub use head::HeadConfig;
pub use hub::HubModel;
pub use loss::{IGNORED, Loss};
pub use mlp::MlpConfig;
pub use norm::{NormConfig, NormKind};
pub use positions::PositionConfig;
pub use relative::RelativeConfig;
pub use rotary::{Pairs, RotaryConfig, RotaryScaling};
pub use sampling::Sampling;
pub use seq2seq::{Seq2Seq, Source};
pub use span::{SPAN_HEAD, SpanModel};
pub use stack::Activations;
pub use tokenizer::{Frame, SpecialTokens, TextStream, Tokenizer};
