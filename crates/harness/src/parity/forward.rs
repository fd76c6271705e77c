//! Cases of kind `forward`: logits, loss, hidden states and norms of the gradients of all parameters.

use peft_core::{Adaptable, AsLoaded, Attachment, Gradients, Mode, Seeds, Targets};
use tch::{Kind, Tensor};

use super::{Case, Checks};
use crate::causal_lm::{CausalLm, Part};
use crate::train::Learner;
use crate::{Error, Result, session};

pub(super) fn run(case: &Case, checks: &mut Checks) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let given = case.tensors("batches.safetensors")?;
    let input = |name: &str| {
        given
            .get(name)
            .map(|t| t.get(0))
            .ok_or_else(|| Error::Usage(format!("batches.safetensors holds no `{name}`")))
    };
    let (ids, mask, labels) = (input("input_ids")?, input("attention_mask")?, input("labels")?);
    let decoder = session::load_decoder(&case.folder.join("model"), Kind::Float, tch::Device::Cpu)?;
    let mut learner = CausalLm::new(decoder, false);

    let at = mask.reshape(-1).nonzero().view(-1);
    let visible = |t: &Tensor| t.reshape([-1, t.size()[2]]).index_select(0, &at);
    let states = tch::no_grad(|| learner.decoder.hidden_states(&ids, Some(&mask), Mode::Eval))?;
    for (index, state) in states.iter().enumerate() {
        let name = format!("hidden.{index}");
        match expected.get(&name) {
            Some(want) => checks.tensor(&name, &visible(state), &visible(want)),
            None => checks.absent(&name, "the case does not hold it"),
        }
    }
    let logits = tch::no_grad(|| learner.decoder.logits(&states[states.len() - 1], Mode::Eval));
    checks.tensor("logits", &visible(&logits), &visible(&expected["logits"]));

    // Full fine-tuning makes every parameter a leaf.
    let method = (methods::find("full")?.build)(toml::Table::new())?;
    let attachment =
        Attachment::new(&mut learner, "default", method, &Targets::default(), &AsLoaded, &Seeds::new(0))?;
    learner.activate(&attachment.active());
    let scored = labels.narrow(1, 1, labels.size()[1] - 1).ne(-100).sum(Kind::Int64).int64_value(&[]);
    let part = Part { ids, mask, labels, divisor: scored as f64 };
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
