use std::path::Path;

use methods::METHODS;
use peft_core::peft_file::{self, AdapterFile};
use peft_core::{MethodInfo, StateDict, tensor_file};
use serde_json::{Map, Value};

use super::Finding;
use crate::adapter;

/// `adapter_config.json`.
pub(super) const CONFIG: &str = "adapter_config.json";
/// `adapter_model.safetensors`.
pub(super) const TENSORS: &str = "adapter_model.safetensors";

/// An adapter on disk, read without judging it.
#[derive(Debug)]
pub struct Patient {
    /// Names as they stand in the tensor file.
    pub(super) names: Vec<String>,
    /// The rest, with whatever can be taken off the names taken off.
    pub(super) file: AdapterFile,
    /// What it is, if that can be told.
    pub(super) method: Option<(&'static MethodInfo, toml::Table)>,
}

impl Patient {
    pub(super) fn read(folder: &Path) -> Result<Self, Finding> {
        let unreadable = |name: &str, error: &dyn std::fmt::Display| {
            let place = folder.join(name).display().to_string();
            Finding::error("readable", place, error.to_string(), "write or copy the adapter again")
        };
        let text = std::fs::read_to_string(folder.join(CONFIG)).map_err(|e| unreadable(CONFIG, &e))?;
        let config: Map<String, Value> = serde_json::from_str(&text).map_err(|e| unreadable(CONFIG, &e))?;
        let path = folder.join(TENSORS);
        let (raw, metadata) = tensor_file::read(&path).map_err(|e| unreadable(TENSORS, &e))?;
        let names = raw.keys().cloned().collect();
        let tensors: StateDict =
            raw.into_iter().map(|(name, t)| (peft_file::own_name(&name).unwrap_or(name), t)).collect();
        let file = AdapterFile { config, tensors, metadata, origin: path.display().to_string() };
        let method = adapter::method_of(&file).ok();
        Ok(Self { names, file, method })
    }

    /// The `peft_type` by its present name, if it is one of PEFT's that is known here.
    pub(super) fn peft_type(&self) -> Option<&'static str> {
        let written = self.file.peft_type().ok()?;
        METHODS.iter().filter_map(|info| Some(info.peft?.peft_type)).find(|known| *known == written)
    }

    /// Whether it is written as LoRA, to be read as `W + s·B·A` by who looks no closer.
    pub(super) fn is_lora(&self) -> bool {
        self.peft_type() == Some("LORA")
    }

    /// Whether the tensor belongs to a module of `modules_to_save`, which a file holds whole.
    pub(super) fn saves(&self, name: &str) -> bool {
        self.file.targets().is_ok_and(|targets| targets.saves(name).is_some())
    }

    /// The module path and the name of the tensor in it; none for tensors that all modules share.
    pub(super) fn parts(name: &str) -> Option<(&str, &str)> {
        name.strip_suffix(".weight").unwrap_or(name).rsplit_once('.')
    }

    /// Modules with a tensor called `tensor`, and the tensor.
    pub(super) fn modules_with<'a>(
        &'a self,
        tensor: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a tch::Tensor)> {
        let parts = self.file.tensors.iter().filter_map(|(name, t)| Some((Self::parts(name)?, t)));
        parts.filter(move |((_, own), _)| *own == tensor).map(|((module, _), t)| (module, t))
    }
}

/// `a, b, c and 7 more`.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let shown = names.iter().take(3).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > 3 { format!("{shown} and {} more", names.len() - 3) } else { shown }
}
