//! What a result file says about its experiment, and what it takes to write one.

use serde_json::{Map, Value, json};

use crate::record::{RunRecord, Status};

/// The keys of `train_config`, in the format's order.
const TRAIN_CONFIG: [&str; 20] = [
    "model_id",
    "dtype",
    "max_seq_length",
    "batch_size",
    "batch_size_eval",
    "max_steps",
    "eval_steps",
    "compile",
    "use_gc",
    "init_kv_cache_prefix",
    "query_template",
    "seed",
    "grad_norm_clip",
    "optimizer_type",
    "optimizer_kwargs",
    "lr_scheduler",
    "use_amp",
    "autocast_adapter_dtype",
    "generation_kwargs",
    "attn_implementation",
];

/// What a result file needs and a record does not know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// `<method>/<name>`.
    pub experiment: String,
    /// Keys of the format's `train_config`; `model_id`, `seed` and `max_steps` come from the record when absent, others
    /// become `null`.
    pub train_config: Map<String, Value>,
    /// `adapter_config.json`, with its `peft_type`; `None` says full fine-tuning.
    pub peft_config: Option<Map<String, Value>>,
    /// The metric to write as test accuracy; `None` takes the primary one.
    pub metric: Option<String>,
    /// What to do about memory that was not measured.
    pub unknown_memory: UnknownMemory,
}

/// What to do about memory figures that were not measured: the app accepts numbers only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownMemory {
    /// Refuse to write the file.
    #[default]
    Refuse,
    /// Write 0 and list the key in `compare.zero_means_unknown`; whoever compares memory in the app must leave it out.
    Zero,
}

impl Context {
    /// The context of a run of our own, from its record and the `adapter_config.json` of its adapter (`None`, or our type
    /// `FULL`, for full fine-tuning): the experiment is called `<family>/<method>-<task>`, and `train_config` says what the record's
    /// configuration does, under the format's names.
    pub fn of_own(record: &RunRecord, peft_config: Option<Map<String, Value>>) -> Self {
        let at = |pointer: &str| record.config.pointer(pointer).filter(|value| !value.is_null()).cloned();
        let optimizer = |key: &str| at(&format!("/method/settings/optimizer/{key}"));
        let weight_decay = optimizer("weight_decay").or_else(|| at("/task/training/weight_decay"));
        let optimizer_kwargs: Map<String, Value> = [
            ("lr", optimizer("lr")),
            ("betas", optimizer("betas")),
            ("eps", optimizer("eps")),
            ("weight_decay", weight_decay),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect();
        let known = [
            ("dtype", at("/task/training/dtype")),
            ("max_seq_length", at("/task/training/max_length")),
            ("batch_size", at("/task/training/batch_size")),
            ("query_template", at("/task/prompt/template")),
            ("grad_norm_clip", at("/task/training/clip/norm")),
            ("optimizer_type", Some(json!("AdamW"))),
            ("optimizer_kwargs", Some(Value::Object(optimizer_kwargs))),
            ("lr_scheduler", at("/task/training/schedule")),
            ("generation_kwargs", at("/task/decoding")),
        ];
        Self {
            experiment: format!("{}/{}-{}", record.family, record.method, record.task),
            train_config: known
                .into_iter()
                .filter_map(|(key, value)| Some((key.to_owned(), value?)))
                .collect(),
            peft_config: peft_config
                .filter(|config| config.get("peft_type").and_then(Value::as_str) != Some("FULL")),
            ..Self::default()
        }
    }

    /// The context of a run that was imported from a result file; `None` for runs of our own.
    pub fn of_imported(record: &RunRecord) -> Option<Self> {
        Some(Self {
            experiment: record.method.strip_prefix("hf:")?.to_owned(),
            train_config: record.config.get("train_config")?.as_object()?.clone(),
            peft_config: record.config.get("peft_config")?.as_object().cloned(),
            ..Self::default()
        })
    }
}

/// What keeps a record from being written, in words.
pub(super) fn check(record: &RunRecord, context: &Context) -> Result<(), String> {
    if record.status != Status::Success {
        return Err(record.status.to_string());
    }
    if record.is_base() {
        return Err("the format has no place for the unadapted model".into());
    }
    if context.experiment.split('/').filter(|part| !part.is_empty()).count() != 2 {
        return Err(format!("the experiment is called `{}`, expected `<method>/<name>`", context.experiment));
    }
    if let Some(key) =
        context.train_config.keys().find(|key| !is_imported(record) && !TRAIN_CONFIG.contains(&key.as_str()))
    {
        return Err(format!("`train_config` has no key `{key}`"));
    }
    match &context.peft_config {
        Some(config) if !config.get("peft_type").is_some_and(Value::is_string) => {
            Err("`peft_config` lacks its `peft_type`".into())
        }
        None if record.parameters.adapter_total.is_some_and(|values| values > 0) => {
            Err("it has an adapter, but without `peft_config` it would pass for full fine-tuning".into())
        }
        _ => Ok(()),
    }
}

/// Whether the record came from a result file.
pub(super) fn is_imported(record: &RunRecord) -> bool {
    Context::of_imported(record).is_some()
}

/// The whole `train_config`.
pub(super) fn train_config(record: &RunRecord, context: &Context) -> Map<String, Value> {
    if is_imported(record) {
        return context.train_config.clone();
    }
    let mut config: Map<String, Value> =
        TRAIN_CONFIG.iter().map(|key| ((*key).to_owned(), Value::Null)).collect();
    config.insert("model_id".into(), json!(record.model.name));
    config.insert("seed".into(), json!(record.seed));
    config.insert("max_steps".into(), json!(record.steps()));
    config.extend(context.train_config.clone());
    config
}
