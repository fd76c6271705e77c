//! A loaded base model: shared by all runs on it.

use std::path::Path;

use models::{Builtin, Decoder, ModelFiles, ModelSource, SpecialTokens, Tokenizer};
use peft_core::{Adaptable, AdaptedLinear, AsLoaded, Nf4, Seeds, Storage, Targets, device};
use tasks::{Dtype, Quantization, TaskConfig, TextTokenizer};
use tch::{Device, Kind};

use crate::cli::ModelArgs;
use crate::config::parse_dtype;
use crate::solver::{self, CausalLm, Solver};
use crate::{Result, builtin, memory};

/// A base model with its tokenizer.
#[derive(Debug)]
pub struct Session<L = CausalLm> {
    /// As the user named it.
    pub name: String,
    /// Its files.
    pub files: ModelFiles,
    /// The model.
    pub learner: L,
    /// Its tokenizer.
    pub text: Text,
    /// Values of the model.
    pub parameters: u64,
    /// Hash of its linear layers.
    pub fingerprint: String,
    /// Memory before it was loaded.
    pub memory_before: Option<u64>,
}

/// Text to tokens and back.
#[derive(Debug)]
pub struct Text {
    /// For data: what stands around a text is the task's rule.
    pub tokenizer: TextTokenizer,
    /// For generation.
    pub decoder: Tokenizer,
    /// A row ends with any of these.
    pub end_tokens: Vec<i64>,
}

impl Session {
    /// Loads `name` as the command line wants it held: in f32 if it does not say.
    ///
    /// # Errors
    /// As [`Self::load`], and for a kind of number or a device that there is not.
    pub fn open(args: &ModelArgs, name: &str) -> Result<Self> {
        let dtype = args.dtype.as_deref().map_or(Ok(Dtype::F32), parse_dtype)?;
        Self::load(name, dtype, device::parse(&args.device)?, false)
    }

    /// Loads `builtin:NAME`, `hf:NAME` or a folder in Hugging Face layout.
    ///
    /// # Errors
    /// For an unknown name, or files that are missing or malformed.
    pub fn load(name: &str, dtype: Dtype, device: Device, gradient_checkpointing: bool) -> Result<Self> {
        Self::with(
            name,
            |files, text| {
                let decoder = text.decoder_of(files, kind_of(dtype), device)?;
                Ok(CausalLm::new(decoder, gradient_checkpointing))
            },
            |_| Vec::new(),
        )
    }

    /// The same, as tasks take it.
    pub fn boxed(self) -> Session<Box<dyn Solver>> {
        let Self { name, files, learner, text, parameters, fingerprint, memory_before } = self;
        let learner: Box<dyn Solver> = Box::new(learner);
        Session { name, files, learner, text, parameters, fingerprint, memory_before }
    }
}

impl Session<Box<dyn Solver>> {
    /// Loads the model of `task`, with the head that it asks for, drawn from `seeds`.
    ///
    /// # Errors
    /// As [`Session::load`], and for a model that cannot have such a head.
    pub fn for_task(
        task: &TaskConfig,
        device: Device,
        gradient_checkpointing: bool,
        seeds: &Seeds,
    ) -> Result<Self> {
        Self::with(
            &task.training.model,
            |files, text| solver::load(task, files, text, device, gradient_checkpointing, seeds),
            |learner| learner.fresh_modules(),
        )
    }
}

impl<L: Adaptable> Session<L> {
    /// What `load` makes of the files; the modules that `fresh` names are none of the base.
    fn with(
        name: &str,
        load: impl FnOnce(&ModelFiles, &Text) -> Result<L>,
        fresh: impl FnOnce(&L) -> Vec<String>,
    ) -> Result<Self> {
        // What an earlier model of this process left is not room that this one may fill unseen.
        device::release_freed_memory();
        let memory_before = memory::anonymous_bytes();
        let files = name.parse::<ModelSource>()?.files(&builtin::models())?;
        let text = Text::load(&files)?;
        let mut learner = load(&files, &text)?;
        let fresh = fresh(&learner);
        let parameters = learner.count_parameters();
        let fingerprint = fingerprint(&mut learner, fresh);
        Ok(Self { name: name.to_owned(), files, learner, text, parameters, fingerprint, memory_before })
    }
}

impl Text {
    /// The tokenizer among `files`.
    ///
    /// # Errors
    /// If there is none or it is not understood.
    pub fn load(files: &ModelFiles) -> Result<Self> {
        let decoder = Tokenizer::load(files)?;
        let end_tokens = SpecialTokens::load(files, Some(&decoder))?.eos;
        let json = files.find("tokenizer.json")?.unwrap_or_default();
        let mut maps = Vec::new();
        for name in ["special_tokens_map.json", "tokenizer_config.json"] {
            if let Some(bytes) = files.find(name)? {
                maps.push((name, bytes.into_owned()));
            }
        }
        Ok(Self { tokenizer: TextTokenizer::from_files(&json, &maps)?, decoder, end_tokens })
    }
}

impl Text {
    /// The decoder in `files`, with a row for every token of this tokenizer: some may have been added after pretraining,
    /// often one for padding.
    ///
    /// # Errors
    /// As [`Decoder::load`].
    pub fn decoder_of(&self, files: &ModelFiles, kind: Kind, device: Device) -> peft_core::Result<Decoder> {
        let mut decoder = Decoder::load(files, Some(kind), device)?;
        decoder.grow_vocabulary(self.decoder.vocab_size() as i64)?;
        Ok(decoder)
    }
}

/// The kind of number that a task's `dtype` means.
pub fn kind_of(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F32 => Kind::Float,
        Dtype::Bf16 => Kind::BFloat16,
    }
}

/// How frozen layers are stored that a task wants quantized so.
pub fn storage_of(quantize: Option<Quantization>) -> &'static dyn Storage {
    match quantize {
        None => &AsLoaded,
        Some(Quantization::Nf4) => &Nf4::PLAIN,
        Some(Quantization::Nf4Double) => &Nf4::DOUBLE,
    }
}

/// The decoder in `folder`.
///
/// # Errors
/// If its files are missing, malformed, or describe a model that is not supported.
pub fn load_decoder(folder: &Path, kind: Kind, device: Device) -> Result<Decoder> {
    let files = ModelSource::Folder(folder.to_owned()).files(&[] as &[Builtin])?;
    Ok(Decoder::load(&files, Some(kind), device)?)
}

/// Hash of all linear layers but those in `fresh` modules.
fn fingerprint(model: &mut dyn Adaptable, fresh: Vec<String>) -> String {
    let mut hasher = blake3::Hasher::new();
    let head = Targets { modules_to_save: fresh, ..Targets::default() };
    let of_head = |linear: &AdaptedLinear| head.saves(&format!("{}.weight", linear.name())).is_some();
    for linear in model.linears().into_iter().filter(|linear| !of_head(linear)) {
        hasher.update(linear.name().as_bytes()).update(linear.fingerprint().as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}
