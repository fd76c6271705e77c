use models::ModelFiles;
use peft_core::peft_file::{AdapterFile, FINGERPRINT};
use peft_core::{Adaptable, device};
use tasks::Quantization;
use tch::Kind;

use crate::Result;
use crate::adapter::attach;
use crate::session::{Text, storage_of};
use crate::solver::CausalLm;

/// How weights are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// f32.
    F32,
    /// bf16: 8 bits of mantissa.
    Bf16,
    /// f16: 11 bits of mantissa, up to 65504.
    F16,
    /// Linear layers in 4 bits, the others in f32.
    Quantized(Quantization),
}

/// A way to hold an adapted model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Whether the adapter is in the weights, or in slots over them.
    pub merged: bool,
    /// The weights.
    pub held: Held,
}

impl Held {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Quantized(Quantization::Nf4) => "nf4",
            Self::Quantized(Quantization::Nf4Double) => "nf4-double",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::F32 | Self::Quantized(_) => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
            Self::F16 => Kind::Half,
        }
    }

    fn quantization(self) -> Option<Quantization> {
        match self {
            Self::Quantized(format) => Some(format),
            _ => None,
        }
    }
}

impl Form {
    /// All but the reference, which has the adapter in slots over `base`.
    pub fn others(base: Held) -> Vec<Self> {
        let nf4 = Held::Quantized(Quantization::Nf4);
        let mut held = vec![Held::F32, Held::Bf16, Held::F16, nf4];
        if !held.contains(&base) {
            held.push(base);
        }
        let forms = held.into_iter().flat_map(|held| [false, true].map(|merged| Self { merged, held }));
        forms.filter(|form| form.merged || form.held != base).collect()
    }

    /// In words.
    pub fn name(self) -> String {
        let held = self.held.word();
        if self.merged { format!("merged, {held}") } else { format!("slot over {held}") }
    }
}

/// The decoder in `files`, held so, with `adapter` in force in its slots. That it was made for this base is not checked: a
/// cast to f16 changes the smallest weights, and with them the base's hash.
///
/// # Errors
/// If a file is malformed or does not fit.
pub fn load(
    files: &ModelFiles,
    text: &Text,
    held: Held,
    adapter: Option<&AdapterFile>,
    device: &str,
) -> Result<CausalLm> {
    let decoder = text.decoder_of(files, held.kind(), device::parse(device)?)?;
    let mut model = CausalLm::new(decoder, false);
    match adapter {
        Some(file) => {
            let (attachment, ..) = attach(&mut model, "adapter", &unchecked(file), held.quantization())?;
            model.activate(&attachment.active());
        }
        None => model.store(storage_of(held.quantization())),
    }
    Ok(model)
}

fn unchecked(file: &AdapterFile) -> AdapterFile {
    let mut metadata = file.metadata.clone();
    metadata.remove(FINGERPRINT);
    AdapterFile {
        config: file.config.clone(),
        tensors: file.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect(),
        metadata,
        origin: file.origin.clone(),
    }
}
