//! Cases of kind `forward`: logits, loss, hidden states and norms of the gradients of all parameters.

use peft_core::{AsLoaded, Attachment, Gradients, Mode, Seeds, Targets};

use super::subject::Subject;
use super::{Case, Checks};
use crate::Result;
use crate::solver::CausalLm;
use crate::solver::RowClassifier;
use crate::solver::Translator;

pub(super) fn run(case: &Case, checks: &mut Checks) -> Result<()> {
    let architecture: String = case.field("architecture")?;
    match architecture.rsplit_once("For").map_or("", |(_, task)| task) {
        "SequenceClassification" => run_as::<RowClassifier>(case, checks),
        "ConditionalGeneration" => run_as::<Translator>(case, checks),
        _ => run_as::<CausalLm>(case, checks),
    }
}

fn run_as<S: Subject>(case: &Case, checks: &mut Checks) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let part = S::step(&case.tensors("batches.safetensors")?, 0)?;
    let mut learner = S::load(&case.folder.join("model"))?;
    for (name, got) in learner.states(&part)?.into_iter().chain(learner.outputs(&part)?) {
        match expected.get(&name) {
            Some(want) => {
                checks.tensor(&name, &S::specified(&part, &name, &got), &S::specified(&part, &name, want));
            }
            None => checks.absent(&name, "the case does not hold it"),
        }
    }

    // Full fine-tuning makes every parameter a leaf.
    let method = (methods::find("full")?.build)(toml::Table::new())?;
    let attachment =
        Attachment::new(&mut learner, "default", method, &Targets::default(), &AsLoaded, &Seeds::new(0))?;
    learner.activate(&attachment.active());
    let loss = learner.loss(&part, Mode::Eval)?;
    checks.number("loss", loss.double_value(&[]), expected["loss"].double_value(&[]));
    let mut gradients = Gradients::default();
    gradients.accumulate(&loss, attachment.store(), &[])?;
    for (key, want) in &expected {
        let Some(name) = key.strip_prefix("grad_norm.") else { continue };
        let found = attachment.store().trainables().find(|(_, entry)| entry.name == name);
        match found.and_then(|(id, _)| gradients.of(id)) {
            Some(gradient) => checks.tensor(key, &gradient.norm(), want),
            None => checks.absent(key, "no gradient"),
        }
    }
    Ok(())
}
