//! Models that give each row of tokens a class, a value or a score.

use std::path::Path;

use peft_core::{Adaptable, Error, Mode, Part, Result, Seeds, StateDict};
use serde_json::{Value, json};
use tch::{Device, Kind, Reduction, Tensor};

use crate::body::Body;
use crate::checkpoint::NewTensors;
use crate::config::ModelConfig;
use crate::files::ModelFiles;
use crate::head::Head;
use crate::save;
use crate::stack::Activations;
use crate::weights::{Fresh, Outline, Weights};

/// A body, encoder or decoder, under a head that reads a whole row.
#[derive(Debug)]
pub struct Classifier {
    config: ModelConfig,
    body: Body,
    head: Head,
    labels: i64,
}

/// Where the tensors of a head come from.
#[derive(Clone, Copy, Debug)]
pub enum HeadSource<'a> {
    /// The files hold it.
    Files,
    /// It is drawn; heads that the files hold, of pretraining or another task, are left out.
    Fresh {
        /// Classes; 1 for a value or a score.
        labels: i64,
        /// Streams, by the names of tensors.
        seeds: &'a Seeds,
    },
}

/// One batch.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// `[B, T]`.
    pub ids: &'a Tensor,
    /// `[B, T]`, 1 at tokens, 0 at padding; `None` if there is no padding.
    pub mask: Option<&'a Tensor>,
    /// `[B, T]`, where the model tells sentences apart; all of type 0 where `None`.
    pub types: Option<&'a Tensor>,
}

impl Classifier {
    /// The model in `files`, with tensors of `kind` (what the config says where `None`) on `device`.
    ///
    /// # Errors
    /// As [`crate::Decoder::load`].
    pub fn load(
        files: &ModelFiles,
        kind: Option<Kind>,
        device: Device,
        head: HeadSource<'_>,
    ) -> Result<Self> {
        let mut config = ModelConfig::load(files)?;
        let own = config.head()?;
        let new = match head {
            HeadSource::Files => None,
            HeadSource::Fresh { labels, seeds } => {
                config = config.with_labels(labels);
                Some(NewTensors {
                    seeds,
                    std: config.stack().initializer_range,
                    always: own.out,
                    pooler: own.pooler(),
                })
            }
        };
        crate::checkpoint::load(files, &config, kind, device, new, |weights, kind| {
            Self::new(&config, weights, kind, device)
        })
    }

    /// A model with fresh weights, as [`crate::Decoder::random`], for so many `labels`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if no classifier is built on this family.
    pub fn random(
        config: &ModelConfig,
        labels: i64,
        seeds: &Seeds,
        kind: Kind,
        device: Device,
    ) -> Result<Self> {
        let std = config.stack().initializer_range;
        Self::new(&config.with_labels(labels), &mut Fresh { std, seeds, kind, device }, kind, device)
    }

    /// A model without storage, as [`crate::Decoder::outline`], for so many `labels`.
    ///
    /// # Errors
    /// As [`Self::random`].
    pub fn outline(config: &ModelConfig, labels: i64) -> Result<Self> {
        Self::new(&config.with_labels(labels), &mut Outline, Kind::Float, Device::Cpu)
    }

    fn new(config: &ModelConfig, weights: &mut dyn Weights, kind: Kind, device: Device) -> Result<Self> {
        let (stack, labels) = (config.stack(), config.labels()?);
        let body = Body::new(stack, weights, kind, device);
        let head = Head::new(&config.head()?, stack.hidden_size, labels, weights);
        Ok(Self { config: config.clone(), body, head, labels })
    }

    /// What it was built from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
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

    /// Classes; 1 for a value or a score.
    pub fn labels(&self) -> i64 {
        self.labels
    }

    /// What transformers calls `hidden_states`, `layers + 1` tensors `[B, T, H]`.
    ///
    /// # Errors
    /// As [`Self::logits`].
    pub fn hidden_states(&self, rows: Rows<'_>, mode: Mode) -> Result<Vec<Tensor>> {
        let (embedded, sequence) = self.body.begin(rows)?;
        Ok(self.body.states(&embedded, &sequence, mode))
    }

    /// `[B, labels]`.
    ///
    /// # Errors
    /// If shapes disagree, a row is longer than the context, or an id is outside the vocabulary.
    pub fn logits(&self, rows: Rows<'_>, mode: Mode, activations: Activations<'_>) -> Result<Tensor> {
        let (embedded, sequence) = self.body.begin(rows)?;
        let hidden = self.body.hidden(&embedded, &sequence, mode, activations)?;
        Ok(self.head.forward(&hidden, rows.mask, mode))
    }

    /// Sum over the rows: the cross entropy of `logits [B, labels]` against the classes `labels [B]`, or, with one
    /// label, the squared difference from the values `labels [B]`.
    ///
    /// # Errors
    /// [`Error::Config`] if a class is outside `0..labels`.
    pub fn loss(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
        let labels = labels.to_device(logits.device()).view(-1);
        let wide = if logits.kind() == Kind::Double { Kind::Double } else { Kind::Float };
        let logits = logits.to_kind(wide);
        if self.labels == 1 {
            return Ok(logits.view(-1).mse_loss(&labels.to_kind(wide), Reduction::Sum));
        }
        let outside = labels.lt(0).logical_or(&labels.ge(self.labels)).any().int64_value(&[]) != 0;
        if outside {
            let reason = format!("must be in 0..{}", self.labels);
            return Err(Error::config("labels", format!("{labels:?}"), reason));
        }
        Ok(logits.cross_entropy_loss(&labels, None::<&Tensor>, Reduction::Sum, -100, 0.0))
    }

    /// As [`crate::Decoder::save`].
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&mut self, folder: &Path, companions: Option<&ModelFiles>) -> Result<()> {
        let (kind, tensors) = (self.body.kind(), self.state_dict());
        let architecture = self.config.architecture_for("SequenceClassification");
        save::write(folder, &self.config, &architecture, kind, &tensors, companions)
    }

    /// As [`crate::Decoder::state_dict`].
    pub fn state_dict(&mut self) -> StateDict {
        let kind = self.body.kind();
        save::state_dict(self, kind)
    }
}

impl ModelConfig {
    /// `num_labels`, or the number of labels that have a name, or 2 as in transformers.
    fn labels(&self) -> Result<i64> {
        let stated = self.json().get("num_labels").and_then(Value::as_i64);
        let named = self.json().get("id2label").and_then(Value::as_object).map(|names| names.len() as i64);
        let labels = stated.or(named).unwrap_or(2);
        if labels < 1 {
            return Err(Error::config("num_labels", labels, "must be at least 1"));
        }
        if self.json().get("problem_type").is_some_and(|kind| kind == "multi_label_classification") {
            let reason = "a row has one class; several at once are not supported";
            return Err(Error::config("problem_type", "multi_label_classification", reason));
        }
        Ok(labels)
    }

    fn with_labels(&self, labels: i64) -> Self {
        let mut config = self.clone();
        let json = config.json_mut();
        json.remove("num_labels");
        let name = |i: i64| format!("LABEL_{i}");
        json.insert("id2label".to_owned(), (0..labels).map(|i| (i.to_string(), json!(name(i)))).collect());
        json.insert("label2id".to_owned(), (0..labels).map(|i| (name(i), json!(i))).collect());
        config
    }
}

impl Adaptable for Classifier {
    fn parts(&mut self) -> Vec<Part<'_>> {
        self.body.parts().into_iter().chain(self.head.parts()).collect()
    }
}
