//! Cases of kind `train`: initialization, gradients, steps, merging, saving, through the loop itself.

mod watch;

use std::path::Path;

use peft_core::peft_file::AdapterFile;
use peft_core::{
    Active, AsLoaded, Attachment, FileTensors, Layout, Nf4, ParamStore, Seeds, StateDict, Storage, Targets,
};
use tch::Tensor;

use self::watch::{Watch, phase_rates};
use super::subject::{CaseFeed, Named, Subject};
use super::{Case, Checks};
use crate::adapter::{Provenance, adapter_file, attach};
use crate::reward::RewardModel;
use crate::solver::CausalLm;
use crate::solver::RowClassifier;
use crate::train::{Settings, train};
use crate::{Error, Result};

pub(super) fn run(case: &Case, checks: &mut Checks, save_adapter: Option<&Path>) -> Result<()> {
    match case.field::<String>("task")?.as_str() {
        "causal_lm" => run_as::<CausalLm>(case, checks, save_adapter),
        "sequence_classification" => run_as::<RowClassifier>(case, checks, save_adapter),
        "reward_model" => run_as::<RewardModel>(case, checks, save_adapter),
        task => Err(Error::Usage(format!("train cases of task `{task}` cannot be run yet"))),
    }
}

fn run_as<S: Subject>(case: &Case, checks: &mut Checks, save_adapter: Option<&Path>) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let batches = case.tensors("batches.safetensors")?;
    let mut setup = Setup::<S>::new(case, &batches)?;
    let warm = case.fields.get("warm").and_then(serde_json::Value::as_bool).unwrap_or(false);

    let base = setup.outputs()?;
    setup.learner.activate(&setup.attachment.active());
    let initial = setup.compare(checks, &expected, "init", "")?;
    if case.fields.contains_key("base_quantization") {
        for linear in setup.learner.linears() {
            let name = format!("residual.{}.weight", linear.name());
            if let Some(want) = expected.get(&name) {
                checks.tensor(&name, &linear.frozen().dense(), want);
            }
        }
    }
    if case.fields.get("init_is_identity") == Some(&serde_json::Value::Bool(true)) && !warm {
        for ((name, got), (_, want)) in initial.iter().zip(&base) {
            checks.tensor(&format!("{name}_init.equals_base"), got, want);
        }
    }

    let optimizer = case.optimizer()?;
    let steps: u64 = case.field("steps")?;
    let mut settings = Settings {
        steps,
        optimizer: optimizer.config,
        schedule: optimizer.schedule,
        warmup: peft_core::Length::Steps(optimizer.warmup_steps),
        seeds: Seeds::new(0),
    };
    // The rate that the case states is that of the first group, which the method's ratios leave alone.
    let phase_rates = phase_rates(case)?;
    if let Some((_, last)) = phase_rates.last() {
        settings.optimizer.lr = *last;
    }
    let mut watch = Watch::new(case, checks, &expected, phase_rates);
    let mut feed = CaseFeed::<S>::new(&batches);
    train(&mut setup.learner, &mut setup.attachment, &mut feed, &settings, &mut watch)?;
    let Watch { curves, .. } = watch;
    for (name, values) in curves.of_method.iter().filter(|(name, _)| expected.contains_key(*name)) {
        compare(checks, &expected, name, &Tensor::from_slice(values));
    }
    for (name, values) in [("loss", &curves.loss), ("grad_norm", &curves.grad_norm), ("lr", &curves.lr)] {
        compare(checks, &expected, name, &Tensor::from_slice(values));
    }

    after_training(case, checks, &expected, &batches, &mut setup)?;
    if let Some(folder) = save_adapter {
        setup.adapter_file(case)?.write(folder)?;
    }
    Ok(())
}

fn after_training<S: Subject>(
    case: &Case,
    checks: &mut Checks,
    expected: &StateDict,
    batches: &StateDict,
    setup: &mut Setup<S>,
) -> Result<()> {
    setup.learner.activate(&setup.attachment.active());
    for (name, want) in group(expected, "param") {
        match setup.attachment.store().find(own_name(name)) {
            Some(entry) => checks.tensor(&format!("param.{name}"), &entry.tensor, want),
            None => checks.absent(&format!("param.{name}"), "no such tensor"),
        }
    }
    for (module, want) in group(expected, "mask") {
        match mask_at(setup.attachment.store(), module, want) {
            Some(mask) => checks.tensor(&format!("mask.{module}"), &mask, want),
            None => checks.absent(&format!("mask.{module}"), "no mask"),
        }
    }
    // State that a method keeps under the case's own name for it.
    let store = setup.attachment.store();
    for (quantity, want) in expected {
        let Some((word, module)) = quantity.split_once('.') else { continue };
        if let Some(entry) = store.find(&format!("{module}.{word}")) {
            checks.tensor(quantity, &entry.tensor, want);
        }
    }
    if let Some(want) = expected.get("count_trainable") {
        let got = setup.attachment.store().count_trainable();
        checks.count("count_trainable", got, want.int64_value(&[]));
    }
    setup.compare(checks, expected, "final", "")?;
    for linear in setup.learner.linears() {
        let name = format!("merged.{}.weight", linear.name());
        if let Some(want) = expected.get(&name) {
            let weight = tch::no_grad(|| linear.effective_weight());
            let stored = if linear.layout() == Layout::InOut { weight.tr() } else { weight };
            checks.tensor(&name, &stored, want);
        }
    }
    setup.learner.merge();
    setup.compare(checks, expected, "final", ".merged")?;
    setup.learner.unmerge();
    if case.has("adapter_final") {
        let mut fresh = Setup::<S>::new(case, batches)?;
        let file = AdapterFile::read(&case.folder.join("adapter_final"))?;
        let start = AdapterFile::read(&case.folder.join("adapter_init"))?;
        let tensors = FileTensors { start: Some(&start.tensors), ..FileTensors::from(&file) };
        fresh.attachment.fill(&mut fresh.learner, tensors)?;
        fresh.learner.activate(&fresh.attachment.active());
        fresh.compare(checks, expected, "final", ".reloaded")?;
    }
    // Files that say by themselves what they are: as PEFT wrote them earlier, or as plain LoRA.
    for folder in ["adapter_final_legacy", "adapter_final_lora"] {
        if case.has(folder) {
            let mut learner = S::load(&case.folder.join("model"))?;
            let file = AdapterFile::read(&case.folder.join(folder))?;
            let (attachment, _, settings) = attach(&mut learner, "file", &file, None)?;
            learner.activate(&attachment.active());
            let alone = Setup { learner, attachment, settings, first: S::step(batches, 0)? };
            alone.compare(checks, expected, "final", &format!(".{folder}"))?;
        }
    }
    Ok(())
}

/// The mask of a module: that of its trainable tensor, or the flat positions of its values as a matrix like `want`.
fn mask_at(store: &ParamStore, module: &str, want: &Tensor) -> Option<Tensor> {
    let mut entries = store.entries().iter().filter(|e| e.name.starts_with(module));
    entries.find_map(|entry| match entry.mask() {
        Some(mask) => Some(mask.shallow_clone()),
        None if entry.name.ends_with(".positions") => {
            let zeros = want.zeros_like().view(-1);
            Some(zeros.index_fill(0, &entry.tensor.detach(), 1).view_as(want))
        }
        None => None,
    })
}

/// The model of a case with its initial adapter, and the batch whose outputs are compared.
struct Setup<S: Subject> {
    learner: S,
    attachment: Attachment,
    settings: toml::Table,
    first: S::Part,
}

impl<S: Subject> Setup<S> {
    fn new(case: &Case, batches: &StateDict) -> Result<Self> {
        let (settings, targets): (toml::Table, Targets) = case.method_settings()?;
        let info = methods::find(&case.method)?;
        let mut learner = S::load(&case.folder.join("model"))?;
        let method = (info.build)(settings.clone())?;
        let mut attachment =
            Attachment::new(&mut learner, "default", method, &targets, &*storage(case)?, &Seeds::new(0))?;
        if case.has("adapter_init") {
            let file = AdapterFile::read(&case.folder.join("adapter_init"))?;
            let start = FileTensors { start: Some(&file.tensors), ..FileTensors::from(&file) };
            attachment.fill(&mut learner, start)?;
        }
        learner.activate(&Active::None);
        Ok(Self { learner, attachment, settings, first: S::step(batches, 0)? })
    }

    fn outputs(&self) -> Result<Named> {
        self.learner.outputs(&self.first)
    }

    /// Compares the outputs with `<output>_<time>`, calls that `<output>_<time><way>`, and returns them.
    fn compare(&self, checks: &mut Checks, expected: &StateDict, time: &str, way: &str) -> Result<Named> {
        let outputs = self.outputs()?;
        for (output, got) in &outputs {
            let (name, label) = (format!("{output}_{time}"), format!("{output}_{time}{way}"));
            let specified = |tensor| S::specified(&self.first, output, tensor);
            match expected.get(&name) {
                Some(want) => checks.tensor(&label, &specified(got), &specified(want)),
                None => checks.absent(&label, "the case does not hold it"),
            }
        }
        Ok(outputs)
    }

    fn adapter_file(&mut self, case: &Case) -> Result<AdapterFile> {
        let provenance = Provenance {
            method: methods::find(&case.method)?,
            settings: &self.settings,
            base_model: &case.folder.join("model").display().to_string(),
            task_type: S::TASK_TYPE,
            quantize: None,
        };
        adapter_file(&mut self.learner, &self.attachment, &provenance)
    }
}

/// How the case stores the weights that are adapted.
fn storage(case: &Case) -> Result<Box<dyn Storage>> {
    #[derive(serde::Deserialize)]
    struct Stated {
        r#type: String,
        blocksize: i64,
        double_quant: bool,
    }
    if !case.fields.contains_key("base_quantization") {
        return Ok(Box::new(AsLoaded));
    }
    let Stated { r#type: format, blocksize, double_quant } = case.field("base_quantization")?;
    if format != "nf4" {
        return Err(Error::Usage(format!("base_quantization of type `{format}` cannot be run")));
    }
    Ok(Box::new(Nf4 { block_size: blocksize, double_quantization: double_quant }))
}

/// Entries `<prefix>.<name>` of the expected tensors.
fn group<'a>(expected: &'a StateDict, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Tensor)> {
    expected.iter().filter_map(move |(key, want)| {
        let name = key.strip_prefix(prefix)?.strip_prefix('.')?;
        Some((name, want))
    })
}

/// Names in files carry PEFT's prefix.
fn own_name(name: &str) -> &str {
    name.strip_prefix("base_model.model.").or_else(|| name.strip_prefix("base_model.")).unwrap_or(name)
}

fn compare(checks: &mut Checks, expected: &StateDict, name: &str, got: &Tensor) {
    if let Some(want) = expected.get(name) {
        checks.tensor(name, got, want);
    } else {
        checks.absent(name, "the case does not hold it");
    }
}
