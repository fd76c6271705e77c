//! Our results as result files.

use serde_json::{Map, Value, json};

use super::UNMEASURED_SIZE;
use super::context::{Context, UnknownMemory, check, is_imported, train_config};
use super::file::{Extra, ExtraInterval, ExtraSeed, MetaInfo, MetricsRow, ResultFile, RunInfo, TrainInfo};
use crate::entry::{Entry, Pooled};
use crate::error::{Error, Result};
use crate::metric::{Aggregate, Scale};
use crate::parts::Point;
use crate::record::RunRecord;
use crate::stats::Settings;

/// The packages of `package_info`; the app reads their versions by name.
const PACKAGES: [&str; 5] = ["transformers", "peft", "datasets", "bitsandbytes", "torch"];

/// The name the app's folder expects: `/` becomes `--`.
pub fn file_name(experiment: &str) -> String {
    format!("{}.json", experiment.replace('/', "--"))
}

/// Writes one method on one task, seeds pooled, as a `MetaMathQA` result.
///
/// `train_time` keeps the format's meaning (steps and final evaluation); the steps alone, the interval, the seeds and
/// what the memory figures are go into the object `compare`.
///
/// # Errors
/// [`Error::Exchange`] for the unadapted model (the format would call it full fine-tuning), an experiment not called
/// `<method>/<name>`, an unknown key of `train_config`, a `peft_config` without `peft_type`, a value the app needs and
/// the record lacks; and those of [`Entry::pooled`].
pub fn export(entry: &Entry<'_>, context: &Context, settings: &Settings) -> Result<ResultFile> {
    let record = entry.record();
    let wrong = |reason: String| Error::Exchange { origin: record.id.clone(), reason };
    check(record, context).map_err(wrong)?;
    let name = context.metric.as_ref().or(record.metrics.first().map(|m| &m.name));
    let pooled = name.map(|name| entry.pooled(name, settings)).transpose()?.flatten();
    let pooled = pooled.ok_or_else(|| wrong("it has no such metric".into()))?;
    if (pooled.metric.aggregate, pooled.metric.scale) != (Aggregate::Mean, Scale::Fraction) {
        return Err(wrong(format!("`{}` is not an accuracy", pooled.metric.name)));
    }

    let mut zero_means_unknown = Vec::new();
    let mut memory = |key: &str, value: Option<u64>| match (value, context.unknown_memory) {
        (Some(bytes), _) => Ok(Some(bytes)),
        (None, UnknownMemory::Refuse) => {
            Err(wrong(format!("`{key}` is unknown, and the app needs a number")))
        }
        (None, UnknownMemory::Zero) => {
            zero_means_unknown.push(key.to_owned());
            Ok(Some(0))
        }
    };
    let accelerator_memory_reserved_avg =
        memory("accelerator_memory_reserved_avg", entry.largest(|r| r.memory.mean_bytes))?;
    let accelerator_memory_max = memory("accelerator_memory_max", entry.largest(|r| r.memory.peak_bytes))?;
    let accelerator_memory_reserved_99th =
        memory("accelerator_memory_reserved_99th", entry.largest(|r| r.memory.p99_bytes))?;

    let needed = |key: &str, value: Option<f64>| value.ok_or_else(|| wrong(format!("its {key} is unknown")));
    let trainable = entry.largest(|r| r.parameters.trainable);
    let trainable = trainable.ok_or_else(|| wrong("its number of trainable parameters is unknown".into()))?;
    let step_seconds = entry.mean(|r| r.total.train_seconds);
    let evaluation = needed("evaluation time", entry.mean(|r| r.evaluation_seconds))?;
    let total_time = needed("total time", entry.mean(|r| r.total.wall_seconds))?;
    let git = record.environment.git.as_ref();
    Ok(ResultFile {
        run_info: RunInfo {
            created_at: record.created_at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string(),
            total_time: Some(total_time),
            experiment_name: context.experiment.clone(),
            peft_branch: git.and_then(|git| git.branch.clone()),
            peft_worktree_is_dirty: git.and_then(|git| git.dirty),
            train_config: train_config(record, context),
            peft_config: context.peft_config.clone(),
            error_msg: String::new(),
        },
        train_info: TrainInfo {
            accelerator_memory_reserved_avg,
            accelerator_memory_max,
            accelerator_memory_reserved_99th,
            train_time: Some(needed("training time", step_seconds)? + evaluation),
            file_size: Some(entry.largest(|r| r.adapter_bytes).unwrap_or(UNMEASURED_SIZE)),
            num_trainable_params: Some(trainable),
            num_total_params: total_parameters(record),
            status: "success".into(),
            metrics: rows(entry, &pooled).map_err(wrong)?,
        },
        meta_info: meta_info(record),
        extra: Some(extra(entry, &pooled, step_seconds, zero_means_unknown, settings)),
    })
}

fn total_parameters(record: &RunRecord) -> Option<u64> {
    let ours = record
        .parameters
        .base_total
        .zip(record.parameters.adapter_total)
        .map(|(base, adapter)| base + adapter);
    ours.or_else(|| record.config.get("num_total_params").and_then(Value::as_u64))
}

/// Validation rows from the curves of the first seed, then the test row.
fn rows(entry: &Entry<'_>, pooled: &Pooled) -> Result<Vec<MetricsRow>, String> {
    let record = entry.record();
    let at = |points: &[Point], step: u64| points.iter().rev().find(|p| p.step <= step).and_then(|p| p.value);
    let loss = &record.curves.loss;
    let validation = record.curves.validation.get(&pooled.metric.name).map(Vec::as_slice).unwrap_or_default();
    let mut rows: Vec<MetricsRow> = validation
        .iter()
        .map(|point| MetricsRow {
            step: point.step,
            valid_accuracy: point.value,
            train_loss: at(loss, point.step),
            ..MetricsRow::default()
        })
        .collect();
    let sum =
        |value: fn(&crate::PhaseRecord) -> Option<u64>| record.phases.iter().map(value).sum::<Option<u64>>();
    let metric = |name: &str| record.metric(name).map(|m| m.value);
    let needed = |key: &str| format!("its {key} is unknown, and the app needs it");
    rows.push(MetricsRow {
        step: record.steps(),
        test_accuracy: Some(pooled.metric.value),
        train_loss: Some(
            metric("train_loss")
                .or_else(|| at(loss, u64::MAX))
                .ok_or_else(|| needed("final training loss"))?,
        ),
        train_samples: Some(sum(|phase| phase.samples).ok_or_else(|| needed("number of training samples"))?),
        train_total_tokens: Some(
            sum(|phase| phase.tokens).ok_or_else(|| needed("number of training tokens"))?,
        ),
        forgetting: metric("forgetting"),
        ..MetricsRow::default()
    });
    Ok(rows)
}

fn meta_info(record: &RunRecord) -> MetaInfo {
    if let Some(meta) =
        record.config.get("meta_info").and_then(|meta| serde_json::from_value(meta.clone()).ok())
    {
        return meta;
    }
    let mut package_info = Map::new();
    for package in PACKAGES {
        package_info.insert(format!("{package}-version"), Value::Null);
        package_info.insert(format!("{package}-commit-hash"), Value::Null);
    }
    package_info.insert("torch-version".into(), json!(record.environment.libtorch));
    let system_info = json!({
        "system": record.environment.os,
        "release": null,
        "version": null,
        "machine": null,
        "processor": record.environment.cpu,
        "accelerator": record.environment.device,
    });
    MetaInfo {
        model_info: json!({"sha": record.model.fingerprint, "created_at": null}),
        dataset_info: Value::Null,
        package_info,
        system_info: system_info.as_object().expect("it is one").clone(),
        pytorch_info: None,
    }
}

fn extra(
    entry: &Entry<'_>,
    pooled: &Pooled,
    step_seconds: Option<f64>,
    zero_means_unknown: Vec<String>,
    settings: &Settings,
) -> Extra {
    let record = entry.record();
    let name = &pooled.metric.name;
    let seeds = entry.runs.iter().map(|run| ExtraSeed {
        seed: run.record.seed,
        id: run.record.id.clone(),
        value: run.record.metric(name).expect("every seed has the metric").value,
        outcomes_hash: run.record.outcomes.as_ref().map(|file| file.hash.clone()),
    });
    let memory = if is_imported(record) {
        "torch's reserved memory, as imported"
    } else {
        "over the value before the model was loaded: resident memory on CPU, the allocator's on CUDA; not torch's \
         reserved memory"
    };
    Extra {
        schema: 1,
        method: record.method.clone(),
        task: record.task.clone(),
        metric: name.clone(),
        metric_version: pooled.metric.version.clone(),
        test_items: pooled.metric.items,
        interval: pooled.interval.map(|interval| ExtraInterval {
            low: interval.low,
            high: interval.high,
            confidence: settings.confidence,
            kind: interval.kind.label().into(),
        }),
        seeds: seeds.collect(),
        step_seconds,
        zero_means_unknown,
        memory: memory.into(),
    }
}
