//! Encoder-decoder language models.

use std::path::Path;

use peft_core::{Adaptable, AdaptedLinear, Error, Layout, Mode, Part, Result, Seeds, StateDict};
use tch::{Device, Kind, Reduction, Tensor};

use crate::beams::{BeamSearch, Grown, Hypothesis};
use crate::body::Body;
use crate::cache::KvCache;
use crate::checkpoint;
use crate::classifier::Rows;
use crate::config::{ModelConfig, Seq2SeqConfig};
use crate::files::ModelFiles;
use crate::loss::Loss;
use crate::sequence::{Memory, Sequence, keys};
use crate::stack::{Activations, Stack};
use crate::weights::{Fresh, Init, LinearShape, Outline, Weights};
use crate::{IGNORED, save};

const HEAD: &str = "lm_head";
const BIAS: &str = "final_logits_bias";
/// Other names under which files may hold the shared embedding.
const SHARED: [&str; 3] =
    ["model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight"];

/// A model that reads one text and writes another.
#[derive(Debug)]
pub struct Seq2Seq {
    config: ModelConfig,
    shape: Seq2SeqConfig,
    source: Body,
    target: Stack,
    head: Option<AdaptedLinear>,
    /// Added to the logits, `[1, vocab_size]`; not trained.
    bias: Option<Tensor>,
}

/// What a decoder knows of a batch of sources.
#[derive(Clone, Debug)]
pub struct Source(Memory);

impl Seq2Seq {
    /// The model in `files`, with tensors of `kind` (what the config says where `None`) on `device`.
    ///
    /// # Errors
    /// As [`crate::Decoder::load`].
    pub fn load(files: &ModelFiles, kind: Option<Kind>, device: Device) -> Result<Self> {
        let config = ModelConfig::load(files)?;
        checkpoint::load(files, &config, kind, device, None, |weights, kind| {
            Self::new(&config, weights, kind, device)
        })
    }

    /// A model with fresh weights, as [`crate::Decoder::random`].
    ///
    /// # Errors
    /// If the config is not that of an encoder-decoder.
    pub fn random(config: &ModelConfig, seeds: &Seeds, kind: Kind, device: Device) -> Result<Self> {
        let std = config.seq2seq()?.encoder.initializer_range;
        Self::new(config, &mut Fresh { std, seeds, kind, device }, kind, device)
    }

    /// A model without storage, as [`crate::Decoder::outline`].
    ///
    /// # Errors
    /// As [`Self::random`].
    pub fn outline(config: &ModelConfig) -> Result<Self> {
        Self::new(config, &mut Outline, Kind::Float, Device::Cpu)
    }

    fn new(config: &ModelConfig, weights: &mut dyn Weights, kind: Kind, device: Device) -> Result<Self> {
        let shape = config.seq2seq()?.clone();
        let source = Body::new(&shape.encoder, weights, kind, device);
        for name in SHARED.into_iter().filter(|name| shape.tied || *name != SHARED[2]) {
            let size = source.tokens.frozen().size();
            if weights.holds(name) && weights.tensor(name, &size, Init::Zeros) != *source.tokens.frozen() {
                weights.refuse(name, &format!("differs from `{}`, but they are tied", source.tokens.name()));
            }
        }
        let target = Stack::new(&shape.decoder, weights, kind, device);
        let vocab_size = shape.decoder.vocab_size;
        let head = (!shape.tied).then(|| {
            let (in_features, layout) = (shape.decoder.hidden_size, Layout::OutIn);
            let shape = LinearShape { out_features: vocab_size, in_features, bias: false, layout };
            weights.linear(HEAD, shape).head()
        });
        let bias = weights.holds(BIAS).then(|| weights.tensor(BIAS, &[1, vocab_size], Init::Zeros));
        Ok(Self { config: config.clone(), shape, source, target, head, bias })
    }

    /// What it was built from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Its parts and their sizes.
    pub fn shape(&self) -> &Seq2SeqConfig {
        &self.shape
    }

    /// Longest row, tokens.
    pub fn context(&self) -> i64 {
        self.config.stack().context
    }

    /// Kind in which it computes.
    pub fn kind(&self) -> Kind {
        self.source.kind()
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        self.source.device()
    }

    /// Reads `rows` of sources.
    ///
    /// # Errors
    /// If shapes disagree, a row is longer than the context, or an id is outside the vocabulary.
    pub fn encode(&self, rows: Rows<'_>, mode: Mode) -> Result<Source> {
        let (embedded, sequence) = self.source.begin(rows)?;
        let states = self.source.hidden(&embedded, &sequence, mode, Activations::Keep)?;
        Ok(self.remember(states, rows.mask))
    }

    fn remember(&self, states: Tensor, mask: Option<&Tensor>) -> Source {
        let absent = mask.map(|mask| mask.to_device(self.source.device()).eq(0));
        let visible = keys(absent.as_ref(), self.source.kind());
        Source(Memory { states, visible })
    }

    /// The decoder's hidden states `[B, T, H]` at `ids [B, T]`, the target up to each token.
    ///
    /// # Errors
    /// If a row is longer than the context, or an id is outside the vocabulary.
    pub fn hidden(&self, source: &Source, ids: &Tensor, mode: Mode) -> Result<Tensor> {
        let embedded = self.source.embed(ids)?;
        let sequence = self.sequence(source, ids)?;
        self.target.forward(&embedded, &sequence, mode, Activations::Keep)
    }

    /// What transformers calls `encoder_hidden_states` and `decoder_hidden_states`.
    ///
    /// # Errors
    /// As [`Self::encode`] and [`Self::hidden`].
    pub fn hidden_states(&self, rows: Rows<'_>, ids: &Tensor, mode: Mode) -> Result<[Vec<Tensor>; 2]> {
        let (embedded, sequence) = self.source.begin(rows)?;
        let encoder = self.source.states(&embedded, &sequence, mode);
        let source = self.remember(encoder[encoder.len() - 1].shallow_clone(), rows.mask);
        let decoder = self.target.states(&self.source.embed(ids)?, &self.sequence(&source, ids)?, mode);
        Ok([encoder, decoder])
    }

    fn sequence(&self, source: &Source, ids: &Tensor) -> Result<Sequence> {
        let [rows, length] = ids.size()[..] else {
            let reason = "expected tokens of shape [rows, length]";
            return Err(Error::config("target", format!("{:?}", ids.size()), reason));
        };
        let options = (self.source.kind(), self.source.device());
        let (config, positions) = (&self.shape.decoder, self.target.positions());
        let own = Sequence::whole([rows, length], None, config, positions, options)?;
        Ok(Sequence { memory: Some(source.0.clone()), ..own })
    }

    /// `hidden [.., H]` to `[.., vocab_size]`.
    pub fn logits(&self, hidden: &Tensor, mode: Mode) -> Tensor {
        let logits = match &self.head {
            Some(head) => head.forward(hidden, mode),
            None => hidden.linear(&self.source.tokens.value().to_kind(hidden.kind()), None::<&Tensor>),
        };
        match &self.bias {
            Some(bias) => logits + bias,
            None => logits,
        }
    }

    /// `Σ −log p(labels[t])` with p from `hidden[t]`, over all positions whose label is not [`IGNORED`];
    /// `hidden [B, T, H]`, `labels [B, T]`, not shifted against each other.
    ///
    /// # Errors
    /// If a label is outside the vocabulary.
    pub fn loss(&self, hidden: &Tensor, labels: &Tensor, mode: Mode) -> Result<Loss> {
        let labels = labels.to_device(hidden.device()).view(-1);
        let scored = labels.ne(IGNORED).nonzero().view(-1);
        let labels = labels.index_select(0, &scored);
        let vocab_size = self.shape.decoder.vocab_size;
        if labels.lt(0).logical_or(&labels.ge(vocab_size)).any().int64_value(&[]) != 0 {
            let reason = format!("must be {IGNORED} or in 0..{vocab_size}");
            return Err(Error::config("labels", labels.max().int64_value(&[]), reason));
        }
        let rows = hidden.reshape([-1, *hidden.size().last().expect("three axes")]).index_select(0, &scored);
        let wide = if hidden.kind() == Kind::Double { Kind::Double } else { Kind::Float };
        let logits = self.logits(&rows, mode).to_kind(wide);
        let sum = logits.cross_entropy_loss(&labels, None::<&Tensor>, Reduction::Sum, IGNORED, 0.0);
        Ok(Loss { sum, tokens: labels.size()[0] })
    }

    /// The best targets of each row of sources, the best first, as `settings` search for them.
    ///
    /// # Errors
    /// As [`Self::encode`]; if a setting is out of range or a target could outgrow the context.
    pub fn generate(&self, rows: Rows<'_>, settings: &BeamSearch) -> Result<Vec<Vec<Hypothesis>>> {
        let count = rows.ids.size()[0];
        settings.check(self.shape.decoder.vocab_size)?;
        let room = self.shape.decoder.context - 1;
        if settings.max_new_tokens as i64 > room {
            let reason = format!("the decoder's context leaves room for {room}");
            return Err(Error::config("max_new_tokens", settings.max_new_tokens, reason));
        }
        tch::no_grad(|| {
            let (kind, device) = (self.source.kind(), self.source.device());
            let Source(memory) = self.encode(rows, Mode::Eval)?;
            let spread = |t: &Tensor| t.repeat_interleave_self_int(settings.beams as i64, 0, None);
            let mut memory = memory.map(spread);
            let start = Tensor::full(
                [count * settings.beams as i64, 1],
                self.shape.start_token,
                (Kind::Int64, device),
            );
            let (config, capacity) = (&self.shape.decoder, settings.max_new_tokens as i64 + 1);
            let mut cache = KvCache::new(config, &start.ones_like(), capacity, kind, device);
            settings.search(count as usize, &mut |grown: Option<Grown>| {
                let ids = match grown {
                    None => start.shallow_clone(),
                    Some(Grown { parents, tokens }) => {
                        let parents = parents.to_device(device);
                        cache.keep(&parents);
                        memory = memory.map(|t| t.index_select(0, &parents));
                        tokens.to_device(device).unsqueeze(1)
                    }
                };
                let own = cache.sequence(1, config, self.target.positions());
                let sequence = Sequence { memory: Some(memory.clone()), ..own };
                let hidden = self.target.advance(&self.source.embed(&ids)?, &sequence, &mut cache);
                Ok(self.logits(&hidden, Mode::Eval))
            })
        })
    }

    /// As [`crate::Decoder::save`].
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&mut self, folder: &Path, companions: Option<&ModelFiles>) -> Result<()> {
        let (kind, tensors) = (self.source.kind(), self.state_dict());
        save::write(folder, &self.config, self.config.architecture(), kind, &tensors, companions)
    }

    /// As [`crate::Decoder::state_dict`].
    pub fn state_dict(&mut self) -> StateDict {
        let kind = self.source.kind();
        let mut all = save::state_dict(self, kind);
        if let Some(bias) = &self.bias {
            all.insert(BIAS.to_owned(), bias.shallow_clone());
        }
        all
    }
}

impl Adaptable for Seq2Seq {
    fn parts(&mut self) -> Vec<Part<'_>> {
        let head = self.head.as_mut().map(Part::Linear);
        self.source.parts().into_iter().chain(self.target.parts()).chain(head).collect()
    }
}
