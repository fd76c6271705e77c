//! Adapters as Hugging Face PEFT writes them: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::low_rank::LoraFields;
use crate::tensor_file::{self, Metadata};
use crate::{Attachment, Error, Modules, Result, Role, StateDict, Targets};

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";
/// Before the module path of every tensor in a file.
pub const PREFIX: &str = "base_model.model.";
const SHARED_PREFIX: &str = "base_model.";

/// Values of `peft_type` that PEFT has given another name.
const RENAMED: [(&str, &str); 1] = [("BONE", "MISS")];

/// Metadata key: exact name of the method that made the file.
pub const METHOD: &str = "method";
/// Metadata key: the method's settings as JSON.
pub const SETTINGS: &str = "settings";
/// Metadata key: hash of the adapted weights of the base.
pub const FINGERPRINT: &str = "base_fingerprint";

/// An adapter on disk.
#[derive(Debug)]
pub struct AdapterFile {
    /// `adapter_config.json`, all of it.
    pub config: Map<String, Value>,
    /// Tensors by our names: module path and tensor name, without prefix and adapter name.
    pub tensors: StateDict,
    /// Text in the header of the tensor file.
    pub metadata: Metadata,
    /// For errors.
    pub origin: String,
}

impl AdapterFile {
    /// A file made to be written as [`Self::read`] would give it: its tensors without the prefix.
    #[must_use]
    pub fn as_read(self) -> Self {
        let tensors =
            self.tensors.into_iter().map(|(name, tensor)| (own_name(&name).unwrap_or(name), tensor));
        Self { tensors: tensors.collect(), ..self }
    }

    /// Reads the adapter in `folder`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`], or [`Error::StateDict`] if the names lack PEFT's prefix (PEFT itself would
    /// load such a file and compute the base's function).
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(CONFIG);
        let text = std::fs::read_to_string(&path).map_err(|source| Error::io(&path, source))?;
        let config: Map<String, Value> = serde_json::from_str(&text).map_err(|e| Error::format(&path, e))?;
        let path = folder.join(TENSORS);
        let (raw, metadata) = tensor_file::read(&path)?;
        let origin = path.display().to_string();

        let mut tensors = StateDict::new();
        let mut foreign = Vec::new();
        for (name, tensor) in raw {
            match own_name(&name) {
                Some(own) => {
                    tensors.insert(own, tensor);
                }
                None => foreign.push(name),
            }
        }
        if !foreign.is_empty() {
            let missing = vec![format!("{PREFIX}{}", foreign[0])];
            return Err(Error::StateDict { origin, missing, unexpected: foreign, mismatched: vec![] });
        }
        if let Some(name) = tensors.keys().find(|n| n.contains("base_layer") || n.contains("lora_embedding"))
        {
            return Err(Error::Unsupported {
                what: format!("{origin}: `{name}`"),
                reason: "adapters on embeddings and tied output heads are not supported".to_owned(),
            });
        }
        Ok(Self { config, tensors, metadata, origin })
    }

    /// Writes the adapter to `folder`, each file atomically.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?;
        let prefixed: StateDict = self.tensors.iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect();
        tensor_file::write(&folder.join(TENSORS), &prefixed, &self.metadata)?;
        let path = folder.join(CONFIG);
        let mut sorted: Vec<_> = self.config.iter().collect();
        sorted.sort_by_key(|(key, _)| key.as_str());
        let sorted: Map<String, Value> = sorted.into_iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let text = serde_json::to_string_pretty(&sorted).expect("JSON values print");
        tensor_file::write_atomically(&path, |file| {
            std::io::Write::write_all(file, text.as_bytes()).map_err(|source| Error::io(&path, source))
        })
    }

    /// `peft_type`, by its present name.
    ///
    /// # Errors
    /// [`Error::Format`] if it is missing.
    pub fn peft_type(&self) -> Result<&str> {
        let written = self.config.get("peft_type").and_then(Value::as_str);
        let written =
            written.ok_or_else(|| Error::format(&self.origin, "adapter_config.json has no `peft_type`"))?;
        let renamed = RENAMED.iter().find(|(old, _)| *old == written);
        Ok(renamed.map_or(written, |(_, new)| new))
    }

    /// Which layers the file says it adapts.
    ///
    /// # Errors
    /// [`Error::Format`] if `target_modules` is missing or not understood.
    pub fn targets(&self) -> Result<Targets> {
        let field = |key: &str| self.config.get(key).filter(|value| !value.is_null());
        let parse = |key: &str, value: &Value| {
            serde_json::from_value::<Modules>(value.clone())
                .map_err(|error| Error::format(&self.origin, format!("`{key}`: {error}")))
        };
        let modules =
            field("target_modules").ok_or_else(|| Error::format(&self.origin, "no `target_modules`"))?;
        let layers = match field("layers_to_transform") {
            None => None,
            Some(Value::Number(n)) => n.as_u64().map(|n| vec![n as u32]),
            Some(list) => serde_json::from_value(list.clone()).ok(),
        };
        Ok(Targets {
            modules: parse("target_modules", modules)?,
            exclude: field("exclude_modules").map(|value| parse("exclude_modules", value)).transpose()?,
            layers,
            modules_to_save: self.modules_to_save(),
        })
    }

    /// Those of `modules_to_save` that the file holds tensors of: PEFT lists the names of heads in general.
    fn modules_to_save(&self) -> Vec<String> {
        let named = self.config.get("modules_to_save").and_then(Value::as_array);
        let names: BTreeSet<&str> = named.into_iter().flatten().filter_map(Value::as_str).collect();
        let held = |name: &&str| {
            let one = Targets { modules_to_save: vec![(*name).to_owned()], ..Targets::default() };
            self.tensors.keys().any(|tensor| one.saves(tensor).is_some())
        };
        names.into_iter().filter(held).map(str::to_owned).collect()
    }

    /// Refuses settings that change the function and are not understood here.
    ///
    /// # Errors
    /// [`Error::Unsupported`] naming the key.
    pub fn check_known(&self) -> Result<()> {
        let understood = understood(self.peft_type()?);
        for (key, value) in &self.config {
            let harmless = understood.contains(&key.as_str())
                || NEUTRAL.contains(&key.as_str())
                || matches!(value, Value::Null | Value::Bool(false))
                || value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(Map::is_empty)
                || (key == "bias" && value == "none")
                || (key == "qalora_group_size" || key == "lora_dropout" || key == "init_lora_weights");
            if !harmless {
                return Err(Error::Unsupported {
                    what: format!("{}: `{key} = {value}`", self.origin),
                    reason: "this setting changes what the adapter computes".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Checks that the file was made for the weights that `attachment` sits on, if the file says so.
    ///
    /// # Errors
    /// [`Error::WrongBase`].
    pub fn check_base(&self, attachment: &Attachment) -> Result<()> {
        match self.metadata.get(FINGERPRINT) {
            Some(theirs) if theirs != attachment.fingerprint() => Err(Error::WrongBase {
                origin: self.origin.clone(),
                theirs: theirs.clone(),
                ours: attachment.fingerprint().to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// Our name of a tensor in a file, without prefix and adapter name; none if the prefix is missing.
pub fn own_name(name: &str) -> Option<String> {
    let own = name.strip_prefix(PREFIX).or_else(|| name.strip_prefix(SHARED_PREFIX))?;
    Some(own.replace(".default.", ".").trim_end_matches(".default").to_owned())
}

/// Keys that describe what an adapter of this type computes, and are read.
fn understood(peft_type: &str) -> &'static [&'static str] {
    match peft_type {
        "MISS" => &["r", "mini_r", "miss_dropout", "init_weights"],
        "VERA" => {
            &["r", "d_initial", "vera_dropout", "projection_prng_key", "save_projection", "init_weights"]
        }
        "ADALORA" => &[
            "lora_alpha",
            "init_r",
            "target_r",
            "tinit",
            "tfinal",
            "deltaT",
            "beta1",
            "beta2",
            "orth_reg_weight",
            "total_step",
            "rank_pattern",
            "r", // has no effect
        ],
        _ => &LoraFields::UNDERSTOOD,
    }
}

/// Keys that say where an adapter came from, what it may be used for and where it is attached, not what it computes.
const NEUTRAL: [&str; 17] = [
    "auto_mapping",
    "base_model_name_or_path",
    "ensure_weight_tying",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "peft_type",
    "peft_version",
    "revision",
    "target_modules",
    "task_type",
    "trainable_token_indices",
    "megatron_core",
    "modules_to_save",
    "fan_in_fan_out",
    "runtime_config",
];

/// What belongs to the run and not to the method in an `adapter_config.json`.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// Name or path of the base model.
    pub base_model: String,
    /// `CAUSAL_LM`, `SEQ_CLS`, …
    pub task_type: Option<&'static str>,
    /// Whether the model stores its weights transposed (GPT-2).
    pub fan_in_fan_out: bool,
}

/// The adapter that `attachment` holds, as PEFT would save it.
pub fn adapter_file(
    attachment: &Attachment,
    linears: &[&str],
    method: Map<String, Value>,
    provenance: &Provenance,
    metadata: Metadata,
) -> AdapterFile {
    let mut config = method;
    config.extend(attachment.peft_state());
    file_of(attachment, linears, config, attachment.file_tensors(), provenance, metadata)
}

/// The same with another configuration and other tensors, under our names: another form of the adapter.
pub fn file_of(
    attachment: &Attachment,
    linears: &[&str],
    mut config: Map<String, Value>,
    tensors: StateDict,
    provenance: &Provenance,
    mut metadata: Metadata,
) -> AdapterFile {
    config.insert("target_modules".into(), json!(target_modules(attachment, linears)));
    config.insert("base_model_name_or_path".into(), json!(provenance.base_model));
    config.insert("task_type".into(), json!(provenance.task_type));
    if !config.get("peft_type").is_some_and(|name| name == "MISS" || name == "BONE") {
        config.insert("fan_in_fan_out".into(), json!(provenance.fan_in_fan_out)); // unknown to those, and refused
    }
    config.insert("inference_mode".into(), json!(true));
    for key in ["auto_mapping", "revision", "layers_to_transform", "layers_pattern"] {
        config.entry(key).or_insert(Value::Null);
    }
    if attachment.modules_to_save().is_empty() {
        config.entry("modules_to_save").or_insert(Value::Null);
    } else {
        config.insert("modules_to_save".into(), json!(attachment.modules_to_save()));
    }
    config.entry("bias").or_insert(json!("none"));
    metadata.insert("format".into(), "pt".into());
    metadata.insert(FINGERPRINT.into(), attachment.fingerprint().to_owned());
    let tensors = prefixed(attachment, tensors);
    AdapterFile { config, tensors, metadata, origin: attachment.name().to_owned() }
}

/// The tensors under PEFT's names.
fn prefixed(attachment: &Attachment, tensors: StateDict) -> StateDict {
    let shared = |name: &str| attachment.store().find(name).is_some_and(|entry| entry.shared);
    let prefix = |name: &str| if shared(name) { SHARED_PREFIX } else { PREFIX };
    tensors.into_iter().map(|(n, t)| (format!("{}{n}", prefix(&n)), t)).collect()
}

/// The shortest list that selects exactly the adapted layers: last components, or else full paths.
fn target_modules(attachment: &Attachment, linears: &[&str]) -> Vec<String> {
    let adapted: BTreeSet<&str> = attachment.sites().iter().map(|site| site.name.as_str()).collect();
    let last: BTreeSet<&str> = attachment.sites().iter().map(crate::Site::projection).collect();
    let selected =
        linears.iter().filter(|name| last.iter().any(|l| crate::targets::ends_with_component(name, l)));
    if selected.copied().collect::<BTreeSet<&str>>() == adapted {
        last.into_iter().map(str::to_owned).collect()
    } else {
        adapted.into_iter().map(str::to_owned).collect()
    }
}

/// The role of a tensor by its name in PEFT files.
pub fn role_of(name: &str) -> Option<Role> {
    let last = name.trim_end_matches(".weight").rsplit('.').next()?;
    match last {
        "lora_embedding_A" | "lora_embedding_B" => Some(Role::Embedding),
        "lora_A" => Some(Role::Down),
        "lora_B" => Some(Role::Up),
        "lora_magnitude_vector" => Some(Role::Magnitude),
        "lora_E" | "vera_lambda_b" | "vera_lambda_d" => Some(Role::Diagonal),
        "miss_block" | "bone_block" => Some(Role::Block),
        _ => None,
    }
}
