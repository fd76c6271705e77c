//! The result file, key by key.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A result file of `method_comparison`. Keys we do not know are ignored, as the format grows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the format's own")]
pub struct ResultFile {
    pub run_info: RunInfo,
    pub train_info: TrainInfo,
    pub meta_info: MetaInfo,
    /// What has no home in the format; its app reads named keys only and ignores this one.
    #[serde(rename = "compare", default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Extra>,
}

/// Who ran what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the format's own")]
pub struct RunInfo {
    pub created_at: String,
    pub total_time: Option<f64>,
    /// `<method>/<name>`.
    pub experiment_name: String,
    pub peft_branch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peft_worktree_is_dirty: Option<bool>,
    pub train_config: Map<String, Value>,
    /// `null` for full fine-tuning.
    pub peft_config: Option<Map<String, Value>>,
    pub error_msg: String,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the format's own")]
pub struct TrainInfo {
    #[serde(alias = "cuda_memory_reserved_avg")]
    pub accelerator_memory_reserved_avg: Option<u64>,
    #[serde(alias = "cuda_memory_max")]
    pub accelerator_memory_max: Option<u64>,
    #[serde(alias = "cuda_memory_reserved_99th")]
    pub accelerator_memory_reserved_99th: Option<u64>,
    pub train_time: Option<f64>,
    pub file_size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_trainable_params: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_total_params: Option<u64>,
    pub status: String,
    /// Validation rows, then the test row.
    pub metrics: Vec<MetricsRow>,
}

/// One row of `metrics`; validation and test rows, of both suites, have different keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the format's own")]
pub struct MetricsRow {
    pub step: u64,
    #[serde(rename = "valid accuracy", skip_serializing_if = "Option::is_none")]
    pub valid_accuracy: Option<f64>,
    #[serde(rename = "valid dino_similarity", skip_serializing_if = "Option::is_none")]
    pub valid_dino_similarity: Option<f64>,
    #[serde(rename = "test accuracy", skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<f64>,
    #[serde(rename = "test dino_similarity", skip_serializing_if = "Option::is_none")]
    pub test_dino_similarity: Option<f64>,
    #[serde(rename = "train loss")]
    pub train_loss: Option<f64>,
    #[serde(rename = "train samples")]
    pub train_samples: Option<u64>,
    #[serde(rename = "train time", skip_serializing_if = "Option::is_none")]
    pub train_time: Option<f64>,
    #[serde(rename = "eval time", skip_serializing_if = "Option::is_none")]
    pub eval_time: Option<f64>,
    #[serde(rename = "tokens / sec", skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    #[serde(rename = "mem allocated avg", skip_serializing_if = "Option::is_none")]
    pub memory_allocated_avg: Option<f64>,
    #[serde(rename = "mem reserved avg", skip_serializing_if = "Option::is_none")]
    pub memory_reserved_avg: Option<f64>,
    #[serde(rename = "elapsed time", skip_serializing_if = "Option::is_none")]
    pub elapsed_time: Option<f64>,
    #[serde(rename = "train total tokens", skip_serializing_if = "Option::is_none")]
    pub train_total_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forgetting: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<f64>,
}

/// With what it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the format's own")]
pub struct MetaInfo {
    /// `{sha, created_at}`.
    pub model_info: Value,
    /// `{"metamath": {sha, created_at}, "gsm8k": {…}}`; one flat `{sha, created_at}` in `image-gen`.
    pub dataset_info: Value,
    /// `{"<package>-version", "<package>-commit-hash"}`.
    pub package_info: Map<String, Value>,
    /// `{system, release, version, machine, processor, accelerator}`; `gpu` instead of `accelerator` in older files.
    pub system_info: Map<String, Value>,
    pub pytorch_info: Option<String>,
}

/// What our results have and the format has no place for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extra {
    /// Version of this object.
    pub schema: u64,
    /// Exact method.
    pub method: String,
    /// The task.
    pub task: String,
    /// Name of the metric shown as test score.
    pub metric: String,
    /// Version of its rule.
    pub metric_version: String,
    /// Items behind the score.
    pub test_items: Option<u64>,
    /// Interval of the score over items and seeds.
    pub interval: Option<ExtraInterval>,
    /// The seeds pooled in the score.
    pub seeds: Vec<ExtraSeed>,
    /// Seconds in training steps alone, of needed runs too.
    pub step_seconds: Option<f64>,
    /// Keys of `train_info` whose 0 stands for "unknown", as the app accepts numbers only.
    pub zero_means_unknown: Vec<String>,
    /// What the memory figures are.
    pub memory: String,
}

/// Interval of the test score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtraInterval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Coverage.
    pub confidence: f64,
    /// How it was made.
    pub kind: String,
}

/// One of the pooled seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtraSeed {
    /// The seed.
    pub seed: u64,
    /// Id of the run.
    pub id: String,
    /// Its score.
    pub value: f64,
    /// Hash of its per-item outcomes.
    pub outcomes_hash: Option<String>,
}
