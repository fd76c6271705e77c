#![doc = include_str!("../README.md")]

mod attention;
mod block;
mod cache;
mod causal;
mod checkpoint;
mod config;
mod decoder;
mod files;
mod generate;
mod hub;
mod llama;
mod loss;
mod mlp;
mod norm;
mod recompute;
mod rotary;
mod rows;
mod sampling;
mod save;
mod sequence;
mod shared_input;
mod tokenizer;
mod weights;

pub use attention::AttentionConfig;
pub use config::{DecoderConfig, ModelConfig};
pub use decoder::{Activations, Decoder};
pub use files::{Builtin, ModelFiles, ModelSource};
pub use generate::{Completion, Finish, Generation, NewToken, Watch};
pub use hub::HubModel;
pub use loss::{IGNORED, Loss};
pub use mlp::MlpConfig;
pub use rotary::{RotaryConfig, RotaryScaling};
pub use sampling::Sampling;
pub use tokenizer::{Frame, SpecialTokens, TextStream, Tokenizer};
