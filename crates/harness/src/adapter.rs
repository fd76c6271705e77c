//! Adapters in and out of the format of Hugging Face PEFT.

use peft_core::peft_file::{self, AdapterFile};
use peft_core::tensor_file::Metadata;
use peft_core::{Adaptable, Attachment, Layout, MethodInfo, Storage};
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
    let (names, about) = about(model, provenance.base_model);
    let about = peft_file::Provenance { task_type: Some(provenance.task_type), ..about };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let config = config_of(provenance.method, provenance.settings)?;
    let settings = serde_json::to_string(provenance.settings).expect("settings print");
    let mut metadata = Metadata::from([
        (peft_file::METHOD.to_owned(), provenance.method.name.to_owned()),
        (peft_file::SETTINGS.to_owned(), settings),
    ]);
    if let Some(quantize) = provenance.quantize {
        let word = serde_json::to_value(quantize).expect("a word");
        metadata.insert(QUANTIZE.to_owned(), word.as_str().unwrap_or_default().to_owned());
    }
    Ok(peft_file::adapter_file(attachment, &names, config, &about, metadata))
}

/// What a file says of the model: the names of its layers, and what is not the method's affair.
pub(crate) fn about(model: &mut dyn Adaptable, base_model: &str) -> (Vec<String>, peft_file::Provenance) {
    let linears = model.linears();
    let about = peft_file::Provenance {
        base_model: base_model.to_owned(),
        task_type: Some("CAUSAL_LM"),
        fan_in_fan_out: linears.iter().any(|linear| linear.layout() == Layout::InOut),
    };
    (linears.iter().map(|linear| linear.name().to_owned()).collect(), about)
}

/// The keys of `adapter_config.json` that depend on the method and its settings.
///
/// # Errors
/// If the settings cannot be written.
pub(crate) fn config_of(method: &MethodInfo, settings: &toml::Table) -> Result<Map<String, Value>> {
    match method.peft {
        Some(format) => Ok((format.write)(settings)?),
        None => Ok(own_config(method, settings)),
    }
}

/// Settings that PEFT's readers look for under other names.
const PEFT_NAMES: [(&str, &str); 3] = [("rank", "r"), ("alpha", "lora_alpha"), ("dropout", "lora_dropout")];

fn own_config(method: &MethodInfo, settings: &toml::Table) -> Map<String, Value> {
    let mut config = Map::new();
    let peft_type = method.name.to_uppercase().replace('-', "_");
    config.insert("peft_type".to_owned(), json!(peft_type));
    for (key, value) in settings {
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

/// How the frozen layers were stored that an adapter was trained over, as its file says.
///
/// # Errors
/// If it says something unknown.
pub fn quantization_of(file: &AdapterFile) -> Result<Option<Quantization>> {
    file.metadata.get(QUANTIZE).map_or(Ok(None), |word| parse_quantization(word))
}

/// Attaches the adapter of a file to `model` under `name`, and stores all frozen layers as `quantize` says.
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
    let storage = storage_of(quantize);
    let attached = attach_over(model, name, file, storage)?;
    model.store(storage);
    Ok(attached)
}

/// The same over adapted layers stored as `storage` says; the others stay as they are.
///
/// # Errors
/// As [`attach`].
pub fn attach_over(
    model: &mut dyn Adaptable,
    name: &str,
    file: &AdapterFile,
    storage: &dyn Storage,
) -> Result<(Attachment, &'static MethodInfo, toml::Table)> {
    let (info, settings) = method_of(file)?;
    if !file.metadata.contains_key(peft_file::METHOD) {
        file.check_known()?;
    }
    let method = (info.build)(settings.clone())?;
    let attachment = Attachment::load(model, name, method, &file.targets()?, storage, file)?;
    if let Err(error) = file.check_base(&attachment) {
        attachment.detach(model);
        return Err(error.into());
    }
    Ok((attachment, info, settings))
}
