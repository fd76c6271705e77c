//! What of a run goes into its record.

use compare::{DataFile, DataSplit, Environment, Git, Model, Parameters, PhaseRecord, RunRecord};
use peft_core::Attachment;
use tasks::Split;

use crate::Result;
use crate::config::Experiment;
use crate::evaluate::{Scored, compare_split};
use crate::run::Context;
use crate::session::Session;
use crate::solver::Solver;
use crate::train::Trained;

/// Who, on what, with which settings, where.
pub fn describe(
    record: &mut RunRecord,
    experiment: &Experiment,
    context: &Context<'_>,
    attachment: &Attachment,
) {
    let info = experiment.method.info;
    info.family.clone_into(&mut record.family);
    info.variant.clone_into(&mut record.variant);
    record.config = experiment.to_json();
    common(record, experiment, context);
    record.notes.push(format!("{} linear layers adapted", attachment.sites().len()));
    let truncated = &context.prepared.train.truncated;
    if truncated.cut + truncated.dropped > 0 {
        record.notes.push(format!(
            "training split: {} sequences cut and {} dropped at {} tokens (longest: {})",
            truncated.cut, truncated.dropped, experiment.task.training.max_length, truncated.longest
        ));
    }
}

/// The same for the model without adapter.
pub fn describe_base(record: &mut RunRecord, experiment: &Experiment, context: &Context<'_>) {
    record.config = serde_json::json!({ "suite": experiment.suite, "task": experiment.task });
    common(record, experiment, context);
    record.parameters = Parameters::counted(0, 0, context.session.parameters);
}

/// Where a run took place.
pub(crate) fn common(record: &mut RunRecord, experiment: &Experiment, context: &Context<'_>) {
    let session = &*context.session;
    record.suite.clone_from(&experiment.suite);
    record.model = Model { name: session.name.clone(), fingerprint: Some(session.fingerprint.clone()) };
    record.environment = environment(session.learner.device());
    let prepared = context.prepared;
    let repeated = &prepared.overlap.prompt;
    if repeated.test_in_train + repeated.test_in_validation > 0 {
        record.notes.push(format!(
            "{} test prompts occur in the training split, {} in the validation split",
            repeated.test_in_train, repeated.test_in_validation
        ));
    }
    record.notes.extend(prepared.scored_by.iter().map(|by| format!("generated code ran with {by}")));
    let task = &prepared.task;
    record.files = task
        .files()
        .iter()
        .map(|file| DataFile {
            repo: file.repo.clone(),
            path: file.path.display().to_string(),
            sha256: file.sha256.clone(),
            bytes: file.bytes,
        })
        .collect();
    for split in [Split::Train, Split::Validation, Split::Test] {
        let items = task.items(split);
        let data = DataSplit { hash: task.digest(split), items: Some(items.len() as u64) };
        record.data.insert(compare_split(split), data);
    }
}

/// The phases with what they took.
pub fn phases(trained: &Trained) -> Vec<PhaseRecord> {
    let one = |phase: &crate::train::PhaseReport| PhaseRecord {
        name: phase.name.clone(),
        steps: phase.steps,
        seconds: Some(phase.time.as_secs_f64()),
        tokens: Some(phase.tokens),
        samples: Some(phase.samples),
        lr: Some(phase.lr),
        peak_bytes: None,
    };
    trained.phases.iter().map(one).collect()
}

/// Counts of values.
pub fn parameters(session: &Session<Box<dyn Solver>>, attachment: &Attachment) -> Parameters {
    let store = attachment.store();
    let added = store.count_saved() - attachment.count_replaced();
    Parameters::counted(store.count_trainable(), added, session.parameters)
}

/// Metrics of the test split.
///
/// # Errors
/// If a score is not finite.
pub fn score(record: &mut RunRecord, scored: &Scored) -> Result<()> {
    record.evaluation_seconds = Some(scored.time.as_secs_f64());
    for metric in &scored.metrics {
        record.metrics.extend(metric.measure(&scored.outcomes)?);
    }
    if scored.truncated > 0 {
        record.notes.push(format!("{} test prompts were cut to fit the context", scored.truncated));
    }
    Ok(())
}

/// Versions, device, machine, source tree.
pub fn environment(device: tch::Device) -> Environment {
    Environment {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        libtorch: Some("2.11 (tch 0.24.0)".to_owned()),
        device: Some(format!("{device:?}")),
        threads: u32::try_from(tch::get_num_threads()).ok(),
        os: Some(format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        cpu: processor(),
        git: git(),
    }
}

fn processor() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The source tree this process was started in, if it is one of this project.
fn git() -> Option<Git> {
    let ask = |args: &[&str]| {
        let output = std::process::Command::new("git").args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let top = ask(&["rev-parse", "--show-toplevel"])?;
    if !std::path::Path::new(&top).join("crates/harness/Cargo.toml").exists() {
        return None;
    }
    Some(Git {
        commit: ask(&["rev-parse", "HEAD"]),
        branch: ask(&["rev-parse", "--abbrev-ref", "HEAD"]),
        dirty: ask(&["status", "--porcelain"]).map(|text| !text.is_empty()),
    })
}
