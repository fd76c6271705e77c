//! Result files as runs.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::file::{MetricsRow, ResultFile};
use super::python::without_nan;
use super::{PLACEHOLDER, UNMEASURED_SIZE};
use crate::error::{Error, Result};
use crate::metric::{Aggregate, Better, MetricValue, Scale};
use crate::parts::{Git, Model, Parameters, PhaseRecord, Point, Total};
use crate::record::{RunRecord, Status};
use crate::run::{Evidence, Run, Selection, latest};

/// Under which names imported scores appear; files made by [`super::export`] carry their own.
///
/// To stand in one ranking with runs of ours, task, metric and version must be the same; who sets them so says that
/// the scoring rules are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Name of the task.
    pub task: String,
    /// Name of the test metric.
    pub metric: String,
    /// Version of its rule.
    pub version: String,
    /// Items of the test set.
    pub test_items: Option<u64>,
}

impl Rules {
    /// `MetaMathQA`: accuracy on the 1319 test problems of GSM8K.
    pub fn metamathqa() -> Self {
        Self {
            task: "MetaMathQA".into(),
            metric: "accuracy".into(),
            version: "peft".into(),
            test_items: Some(1319),
        }
    }

    /// The suite a file belongs to, by the name of its scores.
    pub fn fitting(file: &ResultFile) -> Self {
        let of_images = |row: &MetricsRow| row.test_dino_similarity.or(row.valid_dino_similarity).is_some();
        if file.train_info.metrics.iter().any(of_images) { Self::image_gen() } else { Self::metamathqa() }
    }

    /// `image-gen`: similarity on 4 test prompts.
    pub fn image_gen() -> Self {
        Self {
            task: "image-gen".into(),
            metric: "dino_similarity".into(),
            version: "peft".into(),
            test_items: Some(4),
        }
    }
}

/// Reads one file.
///
/// # Errors
/// [`Error::Io`]; [`Error::Exchange`] for a file of the speed benchmark; [`Error::Json`].
pub fn read(path: &Path) -> Result<ResultFile> {
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    let origin = path.display().to_string();
    let json =
        |source| Error::Json { what: "result of PEFT's method comparison", origin: origin.clone(), source };
    let value: Value = serde_json::from_str(&without_nan(&text)).map_err(json)?;
    if value.get("generation_info").is_some() {
        let reason = "it is of `text_generation_benchmark`, which measures speed and has no score".into();
        return Err(Error::Exchange { origin, reason });
    }
    serde_json::from_value(value).map_err(json)
}

/// Reads every `.json` file of a folder; as in the app, the newest success of each experiment stays.
///
/// # Errors
/// Those of [`read`] and [`import`], naming the file.
pub fn import_folder(folder: &Path, rules: &Rules) -> Result<Selection> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    let runs = paths.iter().map(|path| import(&read(path)?, rules, &path.display().to_string()));
    Ok(latest(runs.collect::<Result<Vec<_>>>()?))
}

/// Turns a result file into a run without per-item outcomes: Wilson intervals and unpaired tests follow from its score
/// and item count.
///
/// The method is called `hf:` and the experiment's name. `config` holds `train_config`, `peft_config` and what
/// else [`super::export`] needs to write the file again. `origin` names the file in errors.
///
/// # Errors
/// [`Error::Exchange`] for a date that is none, a status that is none, or a success whose last row is no test row.
pub fn import(file: &ResultFile, rules: &Rules, origin: &str) -> Result<Run> {
    let wrong = |reason: String| Error::Exchange { origin: origin.to_owned(), reason };
    let own = file.extra.as_ref().map(|extra| Rules {
        task: extra.task.clone(),
        metric: extra.metric.clone(),
        version: extra.metric_version.clone(),
        test_items: extra.test_items,
    });
    let rules = own.as_ref().unwrap_or(rules);
    let (info, train, meta) = (&file.run_info, &file.train_info, &file.meta_info);
    let created_at: Timestamp = info.created_at.parse().map_err(|_| {
        wrong(format!("`created_at` is `{}`, expected a date with UTC offset", info.created_at))
    })?;
    let (seed, seeds_note) = seed(file);
    let mut record = RunRecord::new(created_at, &format!("hf:{}", info.experiment_name), &rules.task, seed);
    let peft_type =
        info.peft_config.as_ref().and_then(|config| config.get("peft_type")).and_then(Value::as_str);
    record.family = peft_type.map_or_else(|| "full-finetuning".to_owned(), str::to_lowercase);
    record.status = status(file).ok_or_else(|| wrong(format!("its status is `{}`", train.status)))?;
    record.model = Model {
        name: text(&info.train_config, "model_id").unwrap_or_default(),
        fingerprint: meta.model_info.get("sha").and_then(Value::as_str).map(str::to_owned),
    };
    record.config = config(file);
    record.environment.version =
        format!("peft {}", text(&meta.package_info, "peft-version").unwrap_or_default());
    record.environment.libtorch = text(&meta.package_info, "torch-version");
    record.environment.device =
        text(&meta.system_info, "accelerator").or_else(|| text(&meta.system_info, "gpu"));
    record.environment.os = text(&meta.system_info, "system");
    record.environment.cpu = text(&meta.system_info, "processor");
    record.environment.git = Some(Git {
        commit: text(&meta.package_info, "peft-commit-hash"),
        branch: info.peft_branch.clone(),
        dirty: info.peft_worktree_is_dirty,
    });
    record.parameters = Parameters {
        trainable: train.num_trainable_params,
        trainable_percent: train
            .num_trainable_params
            .zip(train.num_total_params)
            .map(|(trainable, total)| 100.0 * trainable as f64 / total as f64),
        ..Parameters::default()
    };
    let unknown =
        |key: &str| file.extra.as_ref().is_some_and(|e| e.zero_means_unknown.iter().any(|k| k == key));
    let memory = |value: Option<u64>, key: &str| value.filter(|_| !unknown(key));
    record.memory.peak_bytes = memory(train.accelerator_memory_max, "accelerator_memory_max");
    record.memory.mean_bytes =
        memory(train.accelerator_memory_reserved_avg, "accelerator_memory_reserved_avg");
    record.memory.p99_bytes =
        memory(train.accelerator_memory_reserved_99th, "accelerator_memory_reserved_99th");
    record.adapter_bytes = train.file_size.filter(|&size| size != UNMEASURED_SIZE);

    let (test, windows) = match train.metrics.split_last() {
        Some((last, windows)) if test_score(last).is_some() => (Some(last), windows),
        _ if record.status == Status::Success => {
            return Err(wrong("its last row of `metrics` is no test row".into()));
        }
        _ => (None, train.metrics.as_slice()),
    };
    add_training(&mut record, file, rules, windows, test);
    if let Some(test) = test {
        record.metrics = test_metrics(file, test, rules);
    }
    record.notes.extend(seeds_note);
    record.notes.push(format!("imported from PEFT's method comparison, `{}`", info.experiment_name));
    record.check()?;
    Ok(Run { record, evidence: Evidence::Counts })
}

/// The score of a test row; validation rows have none.
fn test_score(row: &MetricsRow) -> Option<f64> {
    row.test_accuracy.or(row.test_dino_similarity)
}

fn status(file: &ResultFile) -> Option<Status> {
    let failed = || Status::Failed { reason: file.run_info.error_msg.clone() };
    match file.train_info.status.as_str() {
        "success" => Some(Status::Success),
        // Exceptions and running out of memory also end as `canceled`; only the message tells them from Ctrl-C.
        "canceled" if file.run_info.error_msg.is_empty() => Some(Status::Interrupted),
        "canceled" | "failed" => Some(failed()),
        _ => None,
    }
}

fn seed(file: &ResultFile) -> (u64, Option<String>) {
    let seed = file.run_info.train_config.get("seed").and_then(Value::as_u64).unwrap_or_default();
    let pooled = file.extra.as_ref().map_or(1, |extra| extra.seeds.len());
    (seed, (pooled > 1).then(|| format!("the score is the mean of {pooled} seeds")))
}

fn config(file: &ResultFile) -> Value {
    json!({
        "train_config": file.run_info.train_config,
        "peft_config": file.run_info.peft_config,
        "meta_info": file.meta_info,
        "num_total_params": file.train_info.num_total_params,
    })
}

/// Phases, times and curves.
fn add_training(
    record: &mut RunRecord,
    file: &ResultFile,
    rules: &Rules,
    windows: &[MetricsRow],
    test: Option<&MetricsRow>,
) {
    let train = &file.train_info;
    let last_step = train.metrics.last().map_or(0, |row| row.step);
    let step_seconds = match &file.extra {
        Some(extra) => extra.step_seconds,
        // Steps after the last window (`image-gen` ends in the middle of one) were not timed.
        None if windows.last().is_some_and(|row| row.step == last_step) => {
            windows.iter().map(|row| row.train_time).sum()
        }
        None => None,
    };
    let optimizer = file.run_info.train_config.get("optimizer_kwargs");
    record.phases = vec![PhaseRecord {
        name: "train".into(),
        steps: last_step,
        seconds: step_seconds,
        tokens: test.and_then(|row| row.train_total_tokens),
        samples: test.and_then(|row| row.train_samples),
        lr: optimizer.and_then(|kwargs| kwargs.get("lr")).and_then(Value::as_f64),
        peak_bytes: record.memory.peak_bytes,
    }];
    record.total = Total::of(&record.phases, [], file.run_info.total_time);
    // What `train_time` holds beyond the steps: forgetting passes, test generation, and what lies between windows.
    record.evaluation_seconds = train.train_time.zip(step_seconds).map(|(all, steps)| all - steps);
    let curve = |value: &dyn Fn(&MetricsRow) -> Option<f64>| -> Vec<Point> {
        windows.iter().filter_map(|row| Some(Point::new(row.step, value(row)?))).collect()
    };
    record.curves.loss = curve(&|row| row.train_loss);
    let validation = curve(&|row| row.valid_accuracy.or(row.valid_dino_similarity));
    if !validation.is_empty() {
        record.curves.validation.insert(rules.metric.clone(), validation);
    }
}

fn test_metrics(file: &ResultFile, row: &MetricsRow, rules: &Rules) -> Vec<MetricValue> {
    let commit = text(&file.meta_info.package_info, "peft-commit-hash").unwrap_or_else(|| "unknown".into());
    let measured = |value: Option<f64>| value.filter(|v| (v - PLACEHOLDER).abs() > f64::EPSILON);
    let primary = MetricValue {
        name: rules.metric.clone(),
        version: rules.version.clone(),
        value: test_score(row).expect("a test row has a score"),
        items: rules.test_items,
        better: Better::Higher,
        scale: Scale::Fraction,
        // A mean of similarities over a few prompts is not a proportion.
        aggregate: if row.test_accuracy.is_some() { Aggregate::Mean } else { Aggregate::Corpus },
    };
    let lower = |name: &str, value: f64, version: &str| MetricValue {
        name: name.into(),
        version: version.into(),
        value,
        items: None,
        better: Better::Lower,
        scale: Scale::Plain,
        aggregate: Aggregate::Corpus,
    };
    let loss = row.train_loss.map(|value| lower("train_loss", value, "peft"));
    let forgetting = measured(row.forgetting).map(|value| lower("forgetting", value, &commit));
    let drift = measured(row.drift).map(|value| lower("drift", value, &commit));
    [Some(primary), forgetting, drift, loss].into_iter().flatten().collect()
}

fn text(map: &Map<String, Value>, key: &str) -> Option<String> {
    map.get(key).and_then(Value::as_str).map(str::to_owned)
}
