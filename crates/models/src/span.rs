//! Models that mark a span of tokens: the answer to a question in a text.

use std::path::Path;

use peft_core::{Adaptable, AdaptedLinear, Error, Layout, Mode, Part, Result, Seeds, StateDict};
use tch::{Device, Kind, Reduction, Tensor};

use crate::body::Body;
use crate::checkpoint::NewTensors;
use crate::classifier::{HeadSource, Rows};
use crate::config::ModelConfig;
use crate::files::ModelFiles;
use crate::save;
use crate::stack::Activations;
use crate::weights::{Fresh, LinearShape, Outline, Weights};

/// The module that a span model adds to the body.
pub const SPAN_HEAD: &str = "qa_outputs";

/// An encoder whose head gives every token a logit as the first and one as the last of the span.
#[derive(Debug)]
pub struct SpanModel {
    config: ModelConfig,
    body: Body,
    out: AdaptedLinear,
}

impl SpanModel {
    /// The model in `files`, with tensors of `kind` (what the config says where `None`) on `device`. The number of
    /// labels of [`HeadSource::Fresh`] must be 2: first and last.
    ///
    /// # Errors
    /// As [`crate::Decoder::load`]; if the config is not that of an encoder.
    pub fn load(
        files: &ModelFiles,
        kind: Option<Kind>,
        device: Device,
        head: HeadSource<'_>,
    ) -> Result<Self> {
        let config = ModelConfig::load(files)?;
        config.encoder()?;
        let new = match head {
            HeadSource::Files => None,
            HeadSource::Fresh { labels: 2, seeds } => Some(NewTensors {
                seeds,
                std: config.stack().initializer_range,
                always: SPAN_HEAD,
                pooler: None,
            }),
            HeadSource::Fresh { labels, .. } => {
                return Err(Error::config("labels", labels, "a span has two ends"));
            }
        };
        crate::checkpoint::load(files, &config, kind, device, new, |weights, kind| {
            Ok(Self::new(&config, weights, kind, device))
        })
    }

    /// A model with fresh weights, as [`crate::Decoder::random`].
    ///
    /// # Errors
    /// If the config is not that of an encoder.
    pub fn random(config: &ModelConfig, seeds: &Seeds, kind: Kind, device: Device) -> Result<Self> {
        let std = config.encoder()?.stack.initializer_range;
        Ok(Self::new(config, &mut Fresh { std, seeds, kind, device }, kind, device))
    }

    /// A model without storage, as [`crate::Decoder::outline`].
    ///
    /// # Errors
    /// As [`Self::random`].
    pub fn outline(config: &ModelConfig) -> Result<Self> {
        config.encoder()?;
        Ok(Self::new(config, &mut Outline, Kind::Float, Device::Cpu))
    }

    fn new(config: &ModelConfig, weights: &mut dyn Weights, kind: Kind, device: Device) -> Self {
        let stack = config.stack();
        let body = Body::new(stack, weights, kind, device);
        let shape = LinearShape {
            out_features: 2,
            in_features: stack.hidden_size,
            bias: true,
            layout: Layout::OutIn,
        };
        Self { config: config.clone(), body, out: weights.linear(SPAN_HEAD, shape).head() }
    }

    /// Longest row, tokens.
    pub fn context(&self) -> i64 {
        self.config.stack().context
    }

    /// Kind in which it computes.
    pub fn kind(&self) -> Kind {
        self.body.kind()
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        self.body.device()
    }

    /// Logits of the first and of the last token, `[B, T]` each; −∞ at padding, where no span begins or ends. (transformers
    /// gives padding logits, so that its loss depends on how far a row is padded.)
    ///
    /// # Errors
    /// If shapes disagree, a row is longer than the context, or an id is outside the vocabulary.
    pub fn logits(&self, rows: Rows<'_>, mode: Mode, activations: Activations<'_>) -> Result<[Tensor; 2]> {
        let (embedded, sequence) = self.body.begin(rows)?;
        let hidden = self.body.hidden(&embedded, &sequence, mode, activations)?;
        let both = self.out.forward(&hidden, mode);
        let absent = rows.mask.map(|mask| mask.to_device(both.device()).eq(0));
        Ok([0, 1].map(|end| match &absent {
            Some(absent) => both.select(2, end).masked_fill(absent, f64::NEG_INFINITY),
            None => both.select(2, end),
        }))
    }

    /// Sum over the rows: mean of the cross entropies of both ends `[B]`; a row whose end lies outside its tokens is not
    /// scored at this end.
    pub fn loss(&self, logits: &[Tensor; 2], ends: [&Tensor; 2]) -> Tensor {
        let losses = [0, 1].map(|i| {
            let length = logits[i].size()[1];
            let end = ends[i].to_device(logits[i].device()).clamp(0, length);
            logits[i].to_kind(Kind::Float).cross_entropy_loss(
                &end,
                None::<&Tensor>,
                Reduction::Sum,
                length,
                0.0,
            )
        });
        (&losses[0] + &losses[1]) / 2.0
    }

    /// As [`crate::Decoder::save`].
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&mut self, folder: &Path, companions: Option<&ModelFiles>) -> Result<()> {
        let (kind, tensors) = (self.body.kind(), self.state_dict());
        let architecture = self.config.architecture_for("QuestionAnswering");
        save::write(folder, &self.config, &architecture, kind, &tensors, companions)
    }

    /// As [`crate::Decoder::state_dict`].
    pub fn state_dict(&mut self) -> StateDict {
        let kind = self.body.kind();
        save::state_dict(self, kind)
    }
}

impl Adaptable for SpanModel {
    fn parts(&mut self) -> Vec<Part<'_>> {
        self.body.parts().into_iter().chain([Part::Linear(&mut self.out)]).collect()
    }
}
