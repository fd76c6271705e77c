//! Cases of kind `train`: initialization, gradients, steps, merging, saving, through the loop itself.

use std::collections::BTreeMap;
use std::path::Path;

use peft_core::peft_file::AdapterFile;
use peft_core::{
    Active, Adaptable, AsLoaded, Attachment, FileTensors, Gradients, Layout, Mode, Nf4, ParamStore, Phase,
    Seeds, StateDict, Storage, Targets,
};
use tch::{Kind, Tensor};

use super::{Case, Checks};
use crate::adapter::{Provenance, adapter_file, attach};
use crate::causal_lm::{CausalLm, Part};
use crate::train::{Feed, Flow, Observer, Settings, StepData, StepReport, train};
use crate::{Error, Result, session};

pub(super) fn run(case: &Case, checks: &mut Checks, save_adapter: Option<&Path>) -> Result<()> {
    let task: String = case.field("task")?;
    if task != "causal_lm" {
        return Err(Error::Usage(format!("train cases of task `{task}` cannot be run yet")));
    }
    let expected = case.tensors("expected.safetensors")?;
    let batches = Batches::read(case)?;
    let mut setup = Setup::new(case)?;
    let warm = case.fields.get("warm").and_then(serde_json::Value::as_bool).unwrap_or(false);

    let base_logits = setup.logits(&batches);
    setup.learner.activate(&setup.attachment.active());
    let initial = setup.logits(&batches);
    batches.compare(checks, &expected, "logits_init", &initial);
    if case.fields.contains_key("base_quantization") {
        for linear in setup.learner.linears() {
            let name = format!("residual.{}.weight", linear.name());
            if let Some(want) = expected.get(&name) {
                checks.tensor(&name, &linear.frozen().dense(), want);
            }
        }
    }
    if case.fields.get("init_is_identity") == Some(&serde_json::Value::Bool(true)) && !warm {
        checks.tensor("logits_init.equals_base", &initial, &base_logits);
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
    let mut watch = Watch {
        case,
        checks,
        expected: &expected,
        phase: 0,
        phases: 1,
        phase_rates,
        curves: Curves::default(),
    };
    let mut feed = batches.feed();
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

fn after_training(
    case: &Case,
    checks: &mut Checks,
    expected: &StateDict,
    batches: &Batches,
    setup: &mut Setup,
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
    let trained = setup.logits(batches);
    batches.compare(checks, expected, "logits_final", &trained);
    for linear in setup.learner.linears() {
        let name = format!("merged.{}.weight", linear.name());
        if let Some(want) = expected.get(&name) {
            let weight = tch::no_grad(|| linear.effective_weight());
            let stored = if linear.layout() == Layout::InOut { weight.tr() } else { weight };
            checks.tensor(&name, &stored, want);
        }
    }
    setup.learner.merge();
    batches.compare_as(checks, expected, "logits_final", "logits_final.merged", &setup.logits(batches));
    setup.learner.unmerge();
    if case.has("adapter_final") {
        let mut fresh = Setup::new(case)?;
        let file = AdapterFile::read(&case.folder.join("adapter_final"))?;
        let start = AdapterFile::read(&case.folder.join("adapter_init"))?;
        let tensors = FileTensors { start: Some(&start.tensors), ..FileTensors::from(&file) };
        fresh.attachment.fill(&mut fresh.learner, tensors)?;
        fresh.learner.activate(&fresh.attachment.active());
        batches.compare_as(checks, expected, "logits_final", "logits_final.reloaded", &fresh.logits(batches));
    }
    // Files that say by themselves what they are: as PEFT wrote them earlier, or as plain LoRA.
    for folder in ["adapter_final_legacy", "adapter_final_lora"] {
        if case.has(folder) {
            let decoder = session::load_decoder(&case.folder.join("model"), Kind::Float, tch::Device::Cpu)?;
            let mut learner = CausalLm::new(decoder, false);
            let file = AdapterFile::read(&case.folder.join(folder))?;
            let (attachment, ..) = attach(&mut learner, "file", &file, None)?;
            learner.activate(&attachment.active());
            let name = format!("logits_final.{folder}");
            batches.compare_as(checks, expected, "logits_final", &name, &logits(&learner, batches));
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

/// The model of a case with its initial adapter.
struct Setup {
    learner: CausalLm,
    attachment: Attachment,
    settings: toml::Table,
}

impl Setup {
    fn new(case: &Case) -> Result<Self> {
        let (settings, targets): (toml::Table, Targets) = case.method_settings()?;
        let info = methods::find(&case.method)?;
        let decoder = session::load_decoder(&case.folder.join("model"), Kind::Float, tch::Device::Cpu)?;
        let mut learner = CausalLm::new(decoder, false);
        let method = (info.build)(settings.clone())?;
        let mut attachment =
            Attachment::new(&mut learner, "default", method, &targets, &*storage(case)?, &Seeds::new(0))?;
        if case.has("adapter_init") {
            let file = AdapterFile::read(&case.folder.join("adapter_init"))?;
            let start = FileTensors { start: Some(&file.tensors), ..FileTensors::from(&file) };
            attachment.fill(&mut learner, start)?;
        }
        learner.activate(&Active::None);
        Ok(Self { learner, attachment, settings })
    }

    fn logits(&self, batches: &Batches) -> Tensor {
        logits(&self.learner, batches)
    }

    fn adapter_file(&mut self, case: &Case) -> Result<AdapterFile> {
        let provenance = Provenance {
            method: methods::find(&case.method)?,
            settings: &self.settings,
            base_model: &case.folder.join("model").display().to_string(),
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
    let Stated { r#type, blocksize, double_quant } = case.field("base_quantization")?;
    if r#type != "nf4" {
        return Err(Error::Usage(format!("base_quantization of type `{}` cannot be run", r#type)));
    }
    Ok(Box::new(Nf4 { block_size: blocksize, double_quantization: double_quant }))
}

/// Of batch 0, `[B, T, V]`.
fn logits(learner: &CausalLm, batches: &Batches) -> Tensor {
    tch::no_grad(|| {
        let (ids, mask) = (batches.ids.get(0), batches.mask.get(0));
        let hidden = learner.decoder.hidden(&ids, Some(&mask), Mode::Eval, models::Activations::Keep);
        learner.decoder.logits(&hidden.expect("the case fits its model"), Mode::Eval)
    })
}

/// Token batches of a case, one for each step.
struct Batches {
    ids: Tensor,
    mask: Tensor,
    labels: Tensor,
}

impl Batches {
    fn read(case: &Case) -> Result<Self> {
        let mut tensors = case.tensors("batches.safetensors")?;
        let mut take = |name: &str| {
            tensors.remove(name).ok_or_else(|| Error::Usage(format!("batches.safetensors holds no `{name}`")))
        };
        Ok(Self { ids: take("input_ids")?, mask: take("attention_mask")?, labels: take("labels")? })
    }

    fn feed(&self) -> CaseFeed<'_> {
        CaseFeed { batches: self, step: 0 }
    }

    /// Compares logits of batch 0 where it has tokens.
    fn compare(&self, checks: &mut Checks, expected: &StateDict, name: &str, got: &Tensor) {
        self.compare_as(checks, expected, name, name, got);
    }

    fn compare_as(&self, checks: &mut Checks, expected: &StateDict, name: &str, label: &str, got: &Tensor) {
        match expected.get(name) {
            Some(want) => checks.tensor(label, &self.visible(got), &self.visible(want)),
            None => checks.absent(label, "the case does not hold it"),
        }
    }

    /// The logits of batch 0 at its tokens, `[tokens, V]`.
    fn visible(&self, logits: &Tensor) -> Tensor {
        let at = self.mask.get(0).reshape(-1).nonzero().view(-1);
        logits.reshape([-1, logits.size()[2]]).index_select(0, &at)
    }
}

struct CaseFeed<'a> {
    batches: &'a Batches,
    step: i64,
}

impl Feed<Part> for CaseFeed<'_> {
    fn next_step(&mut self) -> Result<StepData<Part>> {
        let Batches { ids, mask, labels } = self.batches;
        let labels = labels.get(self.step);
        // The first label of a row is compared with nothing.
        let scored = labels.narrow(1, 1, labels.size()[1] - 1).ne(-100).sum(Kind::Int64).int64_value(&[]);
        let mask = mask.get(self.step);
        let tokens = mask.sum(Kind::Int64).int64_value(&[]).cast_unsigned();
        let samples = mask.size()[0].cast_unsigned();
        let part = Part { ids: ids.get(self.step), mask, labels, divisor: scored as f64 };
        self.step += 1;
        Ok(StepData { parts: vec![part], tokens, samples })
    }

    fn restart(&mut self) {
        self.step = 0;
    }
}

#[derive(Default)]
struct Curves {
    loss: Vec<f64>,
    grad_norm: Vec<f64>,
    lr: Vec<f64>,
    /// The regularizer and the method's telemetry.
    of_method: BTreeMap<String, Vec<f64>>,
}

/// Compares what can only be seen while training.
struct Watch<'a> {
    case: &'a Case,
    checks: &'a mut Checks,
    expected: &'a StateDict,
    phase: usize,
    phases: usize,
    phase_rates: Vec<(String, f64)>,
    curves: Curves,
}

impl Observer<CausalLm> for Watch<'_> {
    fn adjust_phases(&mut self, phases: &mut [Phase]) {
        self.phases = phases.len();
        for phase in phases {
            if let Some((_, lr)) = self.phase_rates.iter().find(|(name, _)| name == phase.name) {
                phase.lr = Some(*lr);
            }
        }
    }

    fn phase_ends(&mut self, index: usize, attachment: &Attachment) -> Result<()> {
        if index == 0 {
            for (name, want) in group(self.expected, "phase1_param") {
                match attachment.store().find(own_name(name)) {
                    Some(entry) => self.checks.tensor(&format!("phase1_param.{name}"), &entry.tensor, want),
                    None => self.checks.absent(&format!("phase1_param.{name}"), "no such tensor"),
                }
            }
        }
        Ok(())
    }

    fn phase_begins(&mut self, index: usize, _phase: &Phase, attachment: &mut Attachment) -> Result<()> {
        self.phase = index;
        if index == 1 && self.case.has("adapter_phase2_init") {
            let file = AdapterFile::read(&self.case.folder.join("adapter_phase2_init"))?;
            attachment.store_mut().load_adapter(&file.tensors, &file.origin)?;
        }
        Ok(())
    }

    fn gradients(
        &mut self,
        report: StepReport,
        gradients: &Gradients,
        attachment: &Attachment,
    ) -> Result<()> {
        self.curves.loss.push(report.loss);
        self.curves.grad_norm.push(gradients.norm());
        self.curves.lr.push(report.lr);
        if let Some(extra) = attachment.regularizer() {
            let values = self.curves.of_method.entry("orth_loss".to_owned()).or_default();
            values.push(extra.double_value(&[]));
        }
        // At the first step, and at the first step of the last phase, where each method has its own word for that.
        let prefixes: &[&str] = match report.step {
            0 => &["grad"],
            _ if self.phase + 1 == self.phases && report.phase_step == 0 => &LATER_GRADIENTS,
            _ => return Ok(()),
        };
        for (prefix, (name, want)) in
            prefixes.iter().flat_map(|prefix| group(self.expected, prefix).map(move |found| (prefix, found)))
        {
            let found = attachment
                .store()
                .trainables()
                .find(|(_, entry)| entry.name == own_name(name))
                .and_then(|(id, _)| gradients.of(id));
            match found {
                Some(gradient) => self.checks.tensor(&format!("{prefix}.{name}"), gradient, want),
                None => self.checks.absent(&format!("{prefix}.{name}"), "no gradient"),
            }
        }
        Ok(())
    }

    fn step_done(&mut self, _: StepReport, _: &mut CausalLm, attachment: &Attachment) -> Result<Flow> {
        for (name, value) in attachment.telemetry() {
            self.curves.of_method.entry(name).or_default().push(value);
        }
        Ok(Flow::Continue)
    }
}

/// What cases call the gradients of the first step of the last phase.
const LATER_GRADIENTS: [&str; 3] = ["grad_phase2", "grad_launch", "grad_spa"];

/// Learning rates by phase name, where the case states them.
fn phase_rates(case: &Case) -> Result<Vec<(String, f64)>> {
    #[derive(serde::Deserialize)]
    struct Stated {
        name: String,
        lr: Option<f64>,
    }
    if !case.fields.contains_key("phases") {
        return Ok(Vec::new());
    }
    let phases: Vec<Stated> = case.field("phases")?;
    Ok(phases.into_iter().filter_map(|phase| Some((phase.name, phase.lr?))).collect())
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
