//! What can only be seen while a case trains: curves, gradients, starts and ends of phases.

use std::collections::BTreeMap;

use peft_core::peft_file::AdapterFile;
use peft_core::{Attachment, Gradients, Phase, StateDict};

use super::{group, own_name};
use crate::Result;
use crate::parity::{Case, Checks};
use crate::train::{Flow, Learner, Observer, StepReport};

#[derive(Default)]
pub(super) struct Curves {
    pub(super) loss: Vec<f64>,
    pub(super) grad_norm: Vec<f64>,
    pub(super) lr: Vec<f64>,
    /// The regularizer and the method's telemetry.
    pub(super) of_method: BTreeMap<String, Vec<f64>>,
}

/// Compares what can only be seen while training.
pub(super) struct Watch<'a> {
    case: &'a Case,
    checks: &'a mut Checks,
    expected: &'a StateDict,
    phase: usize,
    phases: usize,
    phase_rates: Vec<(String, f64)>,
    pub(super) curves: Curves,
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        case: &'a Case,
        checks: &'a mut Checks,
        expected: &'a StateDict,
        phase_rates: Vec<(String, f64)>,
    ) -> Self {
        Self { case, checks, expected, phase: 0, phases: 1, phase_rates, curves: Curves::default() }
    }
}

impl<L: Learner> Observer<L> for Watch<'_> {
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

    fn step_done(&mut self, _: StepReport, _: &mut L, attachment: &Attachment) -> Result<Flow> {
        for (name, value) in attachment.telemetry() {
            self.curves.of_method.entry(name).or_default().push(value);
        }
        Ok(Flow::Continue)
    }
}

/// What cases call the gradients of the first step of the last phase.
const LATER_GRADIENTS: [&str; 3] = ["grad_phase2", "grad_launch", "grad_spa"];

/// Learning rates by phase name, where the case states them.
pub(super) fn phase_rates(case: &Case) -> Result<Vec<(String, f64)>> {
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
