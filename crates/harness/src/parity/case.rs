use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use peft_core::{AdamWConfig, Clip, Error as CoreError, ScheduleKind, StateDict, Targets, tensor_file};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Result;

/// `case.json`, and the folder it lies in.
#[derive(Debug)]
pub struct Case {
    /// The folder.
    pub folder: PathBuf,
    /// Its name.
    pub name: String,
    /// `train`, `forward`, …
    pub kind: String,
    /// Registry name, or `none`.
    pub method: String,
    /// How far each group of tensors may be off.
    pub tolerance: BTreeMap<String, Allowed>,
    /// All of the file.
    pub fields: Map<String, Value>,
}

/// `max|got - want| <= atol + rtol·max|want|`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Allowed {
    /// Absolute part.
    pub atol: f64,
    /// Relative part.
    pub rtol: f64,
}

/// Optimizer of a `train` case.
#[derive(Debug)]
pub struct CaseOptimizer {
    /// Settings of AdamW.
    pub config: AdamWConfig,
    /// Shape of the schedule.
    pub schedule: ScheduleKind,
    /// Its warm-up.
    pub warmup_steps: u64,
}

impl Case {
    /// Reads `folder/case.json`.
    ///
    /// # Errors
    /// If it is missing, malformed or of another format version.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("case.json");
        let text = std::fs::read_to_string(&path).map_err(|source| CoreError::io(&path, source))?;
        let fields: Map<String, Value> =
            serde_json::from_str(&text).map_err(|error| CoreError::format(&path, error))?;
        let word = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        if fields.get("format").and_then(Value::as_u64) != Some(1) {
            return Err(CoreError::format(&path, "only cases of format 1 are understood").into());
        }
        let tolerance = fields.get("tolerance").cloned().unwrap_or_default();
        let tolerance = serde_json::from_value(tolerance).map_err(|error| CoreError::format(&path, error))?;
        Ok(Self {
            folder: folder.to_owned(),
            name: word("name"),
            kind: word("kind"),
            method: word("method"),
            tolerance,
            fields,
        })
    }

    /// A field of `case.json`.
    ///
    /// # Errors
    /// If it is missing or of another type.
    pub fn field<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T> {
        let value = self.fields.get(key).cloned().unwrap_or_default();
        serde_json::from_value(value).map_err(|error| {
            CoreError::format(self.folder.join("case.json"), format!("`{key}`: {error}")).into()
        })
    }

    /// The tensors of a file of the case.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn tensors(&self, file: &str) -> Result<StateDict> {
        Ok(tensor_file::read(&self.folder.join(file))?.0)
    }

    /// Whether the case has this file or folder.
    pub fn has(&self, name: &str) -> bool {
        self.folder.join(name).exists()
    }

    /// The method's settings and the targets, from `method_config`.
    ///
    /// # Errors
    /// If a value is of no use.
    pub fn method_settings(&self) -> Result<(toml::Table, Targets)> {
        let mut config: Map<String, Value> = self.field("method_config")?;
        let names: Option<Vec<String>> =
            serde_json::from_value(config.remove("target_modules").unwrap_or_default()).map_err(|error| {
                CoreError::format(self.folder.join("case.json"), format!("target_modules: {error}"))
            })?;
        // Methods that train the base itself name no targets.
        let mut targets = names.map(Targets::names).unwrap_or_default();
        if let Some(saved) = config.remove("modules_to_save") {
            targets.modules_to_save = serde_json::from_value(saved).map_err(|error| {
                CoreError::format(self.folder.join("case.json"), format!("modules_to_save: {error}"))
            })?;
        }
        config.remove("fan_in_fan_out"); // the model says so
        if config.get("r").and_then(Value::as_i64) == Some(0) {
            // No low-rank part, so no scale of one.
            config.remove("r");
            config.remove("alpha");
        }
        let mut settings = toml::Table::new();
        if let Some(Value::String(schedule)) = config.remove("schedule")
            && let Some(steps) = schedule.strip_prefix("wl").and_then(|steps| steps.parse::<i64>().ok())
        {
            settings.insert("low_rank_steps".to_owned(), toml::Value::Integer(steps));
        }
        for (key, value) in config {
            // Dropout is 0 in every case, also for methods that have none; decay belongs to the optimizer.
            // An `init` that only repeats the method's name says nothing.
            if key == "dropout" || key == "weight_decay" || value.is_null() || value == self.method.as_str() {
                continue;
            }
            let renamed =
                RENAMED.iter().find(|(theirs, _)| *theirs == key).map_or(key.as_str(), |(_, ours)| ours);
            let value =
                toml::Value::try_from(value).map_err(|e| CoreError::config(&key, "", e.to_string()))?;
            settings.insert(renamed.to_owned(), value);
        }
        if self.has("masks.safetensors") {
            settings.remove("granularity"); // "given"
            let path = self.folder.join("masks.safetensors").display().to_string();
            settings.insert("mask".to_owned(), toml::Value::String(path));
        }
        Ok((settings, targets))
    }

    /// The optimizer section.
    ///
    /// # Errors
    /// If it asks for something unknown.
    pub fn optimizer(&self) -> Result<CaseOptimizer> {
        #[derive(Deserialize)]
        struct Section {
            lr: f64,
            betas: (f64, f64),
            eps: f64,
            weight_decay: f64,
            schedule: Value,
            clip: Option<ClipSection>,
        }
        #[derive(Deserialize)]
        struct ClipSection {
            kind: String,
            max_norm: f64,
        }
        let section: Section = self.field("optimizer")?;
        let bad = |what: &str| CoreError::format(self.folder.join("case.json"), what);
        let clip = match section.clip {
            None => Clip::None,
            Some(clip) => clip_of(&clip.kind, clip.max_norm).ok_or_else(|| bad("unknown clip"))?,
        };
        let (kind, warmup_steps) = match &section.schedule {
            Value::String(kind) => (kind.clone(), 0),
            Value::Object(map) => (
                map.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned(),
                map.get("warmup_steps").and_then(Value::as_u64).unwrap_or(0),
            ),
            _ => return Err(bad("unknown schedule").into()),
        };
        let schedule =
            serde_json::from_value(Value::String(kind)).map_err(|error| bad(&error.to_string()))?;
        let config = AdamWConfig {
            lr: section.lr,
            betas: section.betas,
            eps: section.eps,
            weight_decay: section.weight_decay,
            clip,
            ..AdamWConfig::default()
        };
        Ok(CaseOptimizer { config, schedule, warmup_steps })
    }
}

/// Names of hyper-parameters in cases and in our settings, where they differ.
const RENAMED: [(&str, &str); 18] = [
    ("r", "rank"),
    ("phase2_a", "a"),
    ("s", "directions"),
    ("t", "launch"),
    ("eps", "epsilon"),
    ("d", "density"),
    ("spa_num_grads", "collection_steps"),
    ("grad_acc_mode", "score"),
    ("mini_r", "mini_rank"),
    ("init_r", "initial_rank"),
    ("target_r", "target_rank"),
    ("tinit", "warmup"),
    ("tfinal", "fine_tuning"),
    ("delta_t", "interval"),
    ("beta1", "sensitivity_decay"),
    ("beta2", "uncertainty_decay"),
    ("orth_reg_weight", "orthogonality"),
    ("total_step", "total_steps"),
];

/// A clipping rule by the cases' name.
pub fn clip_of(kind: &str, max_norm: f64) -> Option<Clip> {
    match kind {
        "global" => Some(Clip::Global(max_norm)),
        "per_tensor" => Some(Clip::PerTensor(max_norm)),
        _ => None,
    }
}
