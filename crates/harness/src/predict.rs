//! What a run will take, from counting: floating-point operations and bytes, before anything is trained.

use std::time::{Duration, Instant};

use models::DecoderConfig;
use peft_core::{Adaptable, Site};
use tasks::{Encoded, Training};
use tch::{Device, Kind, Tensor};

/// The sizes a run depends on.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Tokens of one optimizer step, padding apart.
    pub tokens: f64,
    /// Tokens of one forward pass.
    pub micro_tokens: f64,
    /// Of them, those whose loss counts.
    pub micro_scored: f64,
    /// Mean length of a sequence.
    pub length: f64,
    /// Optimizer steps.
    pub steps: u64,
}

/// What is expected.
#[derive(Clone, Copy, Debug)]
pub struct Prediction {
    /// Floating-point operations of one optimizer step.
    pub flops: f64,
    /// Bytes over the loaded model: adapter, gradients, moments, activations.
    pub bytes: f64,
}

impl Workload {
    /// Of a task's training.
    pub fn new(train: &Encoded, training: &Training, steps: u64, micro_batch: Option<usize>) -> Self {
        let count = train.sequences.len().max(1) as f64;
        let length = train.sequences.iter().map(|s| s.tokens.len()).sum::<usize>() as f64 / count;
        let scored = train.sequences.iter().map(tasks::Sequence::scored).sum::<usize>() as f64 / count;
        let rows = training.batch_size.min(train.sequences.len()) as f64;
        let micro = micro_batch.map_or(rows, |rows_at_a_time| rows.min(rows_at_a_time as f64));
        Self {
            tokens: rows * length,
            micro_tokens: micro * length,
            micro_scored: micro * scored,
            length,
            steps,
        }
    }
}

/// Predicts one step of training `trainable` values at `sites` of a model with `linear_values` values in linear layers.
///
/// A product with a weight costs two operations per value and token, forward and again backward for its input; a
/// weight that trains costs two more for its gradient. Factors of an adapter train, so they cost all six. Attention
/// costs 4·T·H forward and twice that backward, per token and layer, halved by causality.
pub fn predict(
    config: &DecoderConfig,
    linear_values: f64,
    trainable: f64,
    whole: bool,
    recompute: bool,
    work: &Workload,
) -> Prediction {
    let heads = (config.attention.heads * config.attention.head_dim) as f64;
    let layers = config.layers as f64;
    let head = (config.vocab_size * config.hidden_size) as f64;
    let forward = 2.0 * linear_values * work.tokens + layers * 2.0 * work.tokens * work.length * heads;
    let scored_share = work.micro_scored / work.micro_tokens.max(1.0);
    let logits = 4.0 * head * work.tokens * scored_share;
    let training = if whole { 2.0 } else { 6.0 } * trainable * work.tokens;
    let passes = if recompute { 3.0 } else { 2.0 };
    Prediction {
        flops: passes * forward + logits + training,
        bytes: bytes(config, trainable, recompute, work),
    }
}

/// Values, gradients and two moments in f32; activations that backward needs; logits and their gradient.
fn bytes(config: &DecoderConfig, trainable: f64, recompute: bool, work: &Workload) -> f64 {
    const F32: f64 = 4.0;
    let hidden = config.hidden_size as f64;
    let heads = (config.attention.heads * config.attention.head_dim) as f64;
    let kv = (config.attention.kv_heads * config.attention.head_dim) as f64;
    // Two inputs of the block's halves, their norms, q, k, v and the output of attention; gate, up and their product.
    let block = 4.0 * hidden + 2.0 * heads + 2.0 * kv + 3.0 * config.mlp.intermediate_size as f64;
    let layers = config.layers as f64;
    let kept = if recompute { layers * hidden + block } else { layers * block };
    let logits = 2.0 * work.micro_scored * config.vocab_size as f64;
    F32 * (4.0 * trainable + work.micro_tokens * kept + logits)
}

/// Values in the linear layers of `model`, the output head apart.
pub fn linear_values(model: &mut dyn Adaptable) -> f64 {
    let values = |site: &Site| (site.shape.out_features * site.shape.in_features) as f64;
    let body = |linear: &&mut peft_core::AdaptedLinear| !linear.is_head();
    let sites = model.linears().into_iter().filter(body).map(|linear| Site {
        index: 0,
        name: String::new(),
        shape: linear.shape(),
    });
    sites.map(|site| values(&site)).sum()
}

/// Operations per second of this machine in products as large as the model's: the fastest of a few.
pub fn measured_rate(config: &DecoderConfig, work: &Workload, device: Device) -> f64 {
    const PRODUCTS: usize = 8;
    let rows = (work.micro_tokens as i64).max(1);
    let (hidden, wide) = (config.hidden_size, config.mlp.intermediate_size);
    let x = Tensor::ones([rows, hidden], (Kind::Float, device));
    let w = Tensor::ones([wide, hidden], (Kind::Float, device));
    let flops = 2.0 * (rows * hidden * wide) as f64;
    let fastest = (0..PRODUCTS)
        .map(|_| {
            let started = Instant::now();
            // Reading one value waits for the device.
            let _ = x.linear(&w, None::<&Tensor>).double_value(&[0, 0]);
            started.elapsed()
        })
        .min()
        .unwrap_or(Duration::MAX);
    flops / fastest.as_secs_f64().max(1e-9)
}
