//! `[training]`: what every method gets alike. Plain data; the harness acts on it.

use super::Problem;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// How models are trained on the task. What may differ between methods (rank, learning rate, ...) is not here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// `builtin:mini`, a folder, or `hf:REPO`.
    pub model: String,
    /// The linear layers that are adapted.
    pub targets: Targets,
    /// Optimizer steps; or else `epochs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Passes over the training split; or else `steps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Sequences of one optimizer step.
    pub batch_size: usize,
    /// Tokens of one sequence, prompt, response and special tokens together.
    pub max_length: usize,
    /// What happens to longer ones; always counted.
    pub truncation: Truncation,
    /// Which sequences share a batch.
    pub order: Order,
    /// What happens to the last batch of an epoch when it is not full.
    pub last_batch: LastBatch,
    /// Numbers the base model is stored and run in.
    pub dtype: Dtype,
    /// How the frozen linear layers are stored; as `dtype` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantize: Option<Quantization>,
    /// How token losses become the loss of a step.
    pub reduction: Reduction,
    /// Course of the learning rate after the warm-up.
    pub schedule: Schedule,
    /// Length of the linear warm-up.
    pub warmup: Amount,
    /// Gradient clipping; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
    /// Decoupled weight decay of AdamW.
    pub weight_decay: f64,
    /// The validation split is scored every so often.
    pub eval_every: Amount,
    /// Which of the scored states is kept.
    pub select: Select,
}

/// The linear layers that are adapted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Targets {
    /// `"all-linear"`, or a regular expression on the layer's full name.
    Pattern(String),
    /// Names or suffixes of names.
    Names(Vec<String>),
}

/// What happens to a sequence longer than `max_length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncation {
    /// The run stops and names the item.
    Error,
    /// The first `max_length` tokens stay.
    KeepStart,
    /// The last `max_length` tokens stay.
    KeepEnd,
    /// The item is left out of training; where it must be answered, its prompt is cut as by `keep_end`.
    Drop,
}

/// Which sequences share a batch, and in what order batches come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Any, drawn anew for every epoch.
    Shuffled,
    /// Similar lengths together, drawn anew for every epoch: the shuffled sequences are taken a window at a time,
    /// sorted by length and cut into batches; then the batches are shuffled.
    LengthGrouped {
        /// Sequences sorted at a time.
        window: usize,
    },
}

/// What happens to the last batch of an epoch when it is not full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastBatch {
    /// It is a step like any other.
    Keep,
    /// It is left out.
    Drop,
}

/// Numbers the base model is stored and run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    /// 32-bit IEEE.
    F32,
    /// 16-bit brain float.
    Bf16,
}

/// A coarser form of the frozen linear layers; what is computed with them is in `dtype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantization {
    /// 4 bits in blocks of 64 with an f32 scale (QLoRA): 4.5 bits a value.
    Nf4,
    /// The scales in 8 bits as well: 4.13 bits a value.
    Nf4Double,
}

/// How token losses become the loss of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// Sum over the step divided by its scored tokens.
    TokenMean,
    /// Sum over each sequence, mean over the sequences of the step.
    SequenceSum,
}

/// Course of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Stays.
    Constant,
    /// Falls to zero on a line.
    Linear,
    /// Falls to zero on half a cosine.
    Cosine,
}

/// A number of steps: an integer is steps, a number with a point is a fraction of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// Steps.
    Steps(u64),
    /// Fraction of the run, in [0, 1].
    Fraction(f64),
}

/// Gradient clipping.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clip {
    /// The largest allowed Euclidean norm.
    pub norm: f64,
    /// Of what.
    pub scope: ClipScope,
}

/// Whose norm is clipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClipScope {
    /// All gradients together.
    Global,
    /// Each tensor's gradient.
    PerTensor,
}

/// Which state of a run is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// The last one.
    Last,
    /// The one with the best primary metric on the validation split.
    BestValidation,
}

impl Training {
    /// Optimizer steps of a run whose epochs have `steps_per_epoch`.
    pub fn total_steps(&self, steps_per_epoch: u64) -> u64 {
        match (self.steps, self.epochs) {
            (Some(steps), _) => steps,
            (None, epochs) => epochs.unwrap_or(1) * steps_per_epoch,
        }
    }

    pub(super) fn check(&self) -> Result<(), Problem> {
        if self.steps.is_some() == self.epochs.is_some() {
            let at = if self.steps.is_some() { "epochs" } else { "[training]" };
            return Err(Problem::new(at, "`training` needs exactly one of `steps` and `epochs`"));
        }
        if self.steps == Some(0) || self.epochs == Some(0) {
            return Err(Problem::new("= 0", "`steps` and `epochs` must be positive"));
        }
        if self.batch_size == 0 {
            return Err(Problem::new("batch_size", "`batch_size` must be positive"));
        }
        if self.max_length < 2 {
            return Err(Problem::new("max_length", "`max_length` must be at least 2"));
        }
        if let Order::LengthGrouped { window } = self.order
            && window < self.batch_size
        {
            return Err(Problem::new("window", "`window` must hold at least one batch"));
        }
        if self.clip.is_some_and(|clip| clip.norm.is_nan() || clip.norm <= 0.0) {
            return Err(Problem::new("clip", "`norm` must be positive"));
        }
        if self.weight_decay.is_nan() || self.weight_decay < 0.0 {
            return Err(Problem::new("weight_decay", "`weight_decay` must not be negative"));
        }
        Ok(())
    }
}

impl Amount {
    /// Steps of a run of `total`; a fraction is rounded to the nearest.
    pub fn steps(self, total: u64) -> u64 {
        match self {
            Self::Steps(steps) => steps,
            Self::Fraction(fraction) => (fraction * total as f64).round() as u64,
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Steps(steps) => serializer.serialize_u64(*steps),
            Self::Fraction(fraction) => serializer.serialize_f64(*fraction),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of steps, or a fraction of the run from 0.0 to 1.0")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Amount, E> {
                u64::try_from(value)
                    .map(Amount::Steps)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Amount, E> {
                Ok(Amount::Steps(value))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Amount, E> {
                if (0.0..=1.0).contains(&value) {
                    Ok(Amount::Fraction(value))
                } else {
                    Err(E::invalid_value(de::Unexpected::Float(value), &self))
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for Targets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Pattern(pattern) => serializer.serialize_str(pattern),
            Self::Names(names) => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Targets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Targets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`\"all-linear\"`, a regular expression, or a list of layer names")
            }

            fn visit_str<E: de::Error>(self, pattern: &str) -> Result<Targets, E> {
                Ok(Targets::Pattern(pattern.to_owned()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Targets, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = seq.next_element()? {
                    names.push(name);
                }
                Ok(Targets::Names(names))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
