//! Adapters in and out of the format of Hugging Face PEFT.

use peft_core::peft_file::{self, AdapterFile};
use peft_core::tensor_file::Metadata;
use peft_core::{Adaptable, Attachment, Layout, MethodInfo};
use serde_json::{Map, Value, json};
use tasks::Quantization;

use crate::config::parse_quantization;
use crate::session::storage_of;
use crate::{Error, Result};

/// What made an adapter.
#[derive(Debug)]
pub struct Provenance<'a> {
    /// The method.
    pub method: &'static MethodInfo,
    /// Its settings.
    pub settings: &'a toml::Table,
    /// Name or folder of the base model.
    pub base_model: &'a str,
    /// What PEFT calls the task: `CAUSAL_LM`, `SEQ_CLS`, …
    pub task_type: &'static str,
    /// How its frozen layers are stored.
    pub quantize: Option<Quantization>,
}

/// Key in the metadata of adapter files: how the frozen layers were stored that it was trained over.
const QUANTIZE: &str = "quantize";

/// The file of an adapter: PEFT's where PEFT knows the method, otherwise the same layout with the method's own
/// `peft_type` and settings.
///
/// # Errors
/// If the settings cannot be written.
pub fn adapter_file(
    model: &mut dyn Adaptable,
    attachment: &Attachment,
    provenance: &Provenance<'_>,
) -> Result<AdapterFile> {
    let linears = model.linears();
    let names: Vec<String> = linears.iter().map(|linear| linear.name().to_owned()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let transposed = linears.iter().any(|linear| linear.layout() == Layout::InOut);
    let config = match provenance.method.peft {
        Some(format) => (format.write)(provenance.settings)?,
        None => own_config(provenance),
    };
    let settings = serde_json::to_string(provenance.settings).expect("settings print");
    let mut metadata = Metadata::from([
        (peft_file::METHOD.to_owned(), provenance.method.name.to_owned()),
        (peft_file::SETTINGS.to_owned(), settings),
    ]);
    if let Some(quantize) = provenance.quantize {
        let word = serde_json::to_value(quantize).expect("a word");
        metadata.insert(QUANTIZE.to_owned(), word.as_str().unwrap_or_default().to_owned());
    }
    let about = peft_file::Provenance {
        base_model: provenance.base_model.to_owned(),
        task_type: Some(provenance.task_type),
        fan_in_fan_out: transposed,
    };
    Ok(peft_file::adapter_file(attachment, &names, config, &about, metadata))
}

/// Settings that PEFT's readers look for under other names.
const PEFT_NAMES: [(&str, &str); 3] = [("rank", "r"), ("alpha", "lora_alpha"), ("dropout", "lora_dropout")];

fn own_config(provenance: &Provenance<'_>) -> Map<String, Value> {
    let mut config = Map::new();
    let peft_type = provenance.method.name.to_uppercase().replace('-', "_");
    config.insert("peft_type".to_owned(), json!(peft_type));
    for (key, value) in provenance.settings {
        let name = PEFT_NAMES.iter().find(|(ours, _)| ours == key).map_or(key.as_str(), |(_, theirs)| theirs);
        config.insert(name.to_owned(), json!(value));
    }
    config
}

/// The method and the settings of an adapter file: those its metadata name, else those PEFT's config means.
///
/// # Errors
/// [`Error::Unknown`] for a `peft_type` that no method claims.
pub fn method_of(file: &AdapterFile) -> Result<(&'static MethodInfo, toml::Table)> {
    if let (Some(name), Some(settings)) =
        (file.metadata.get(peft_file::METHOD), file.metadata.get(peft_file::SETTINGS))
    {
        let settings = serde_json::from_str(settings).map_err(|error| {
            peft_core::Error::format(&file.origin, format!("metadata `settings`: {error}"))
        })?;
        return Ok((methods::find(name)?, settings));
    }
    let peft_type = file.peft_type()?;
    for info in methods::METHODS {
        if let Some(format) = info.peft.filter(|format| format.peft_type == peft_type)
            && let Some(settings) = (format.read)(&file.config)?
        {
            return Ok((info, settings));
        }
    }
    let mut known: Vec<String> =
        methods::METHODS.iter().filter_map(|info| Some(info.peft?.peft_type.to_owned())).collect();
    known.dedup();
    Err(Error::Unknown { what: "peft_type", name: peft_type.to_owned(), known })
}

/// Attaches the adapter of a file to `model` under `name`, over frozen layers stored as `quantize` says, or else as the
/// file says that they were when it was trained.
///
/// # Errors
/// For a file that does not fit: unknown method, targets that match nothing, tensors missing, surplus or misshapen,
/// another base.
pub fn attach(
    model: &mut dyn Adaptable,
    name: &str,
    file: &AdapterFile,
    quantize: Option<Quantization>,
) -> Result<(Attachment, &'static MethodInfo, toml::Table)> {
    let (info, settings) = method_of(file)?;
    if !file.metadata.contains_key(peft_file::METHOD) {
        file.check_known()?;
    }
    let method = (info.build)(settings.clone())?;
    let stated = file.metadata.get(QUANTIZE).map_or(Ok(None), |word| parse_quantization(word))?;
    let storage = storage_of(quantize.or(stated));
    let attachment = Attachment::load(model, name, method, &file.targets()?, storage, file)?;
    model.store(storage);
    if let Err(error) = file.check_base(&attachment) {
        attachment.detach(model);
        return Err(error.into());
    }
    Ok((attachment, info, settings))
}
