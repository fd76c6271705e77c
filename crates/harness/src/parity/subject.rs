//! What a task makes of a case: its model, its batches, its outputs.

use std::marker::PhantomData;
use std::path::Path;

use models::{Builtin, Classifier, HeadSource, ModelFiles, ModelSource, Seq2Seq};
use peft_core::{Mode, StateDict};
use tch::{Device, Kind, Tensor};

use crate::part::{Part, Tokens};
use crate::reward::{Pairs, RewardModel};
use crate::solver::{CausalLm, RowClassifier, Solver, Translator};
use crate::train::{Feed, Learner, StepData};
use crate::{Error, Result, session};

/// A learner that a case can be about.
pub(super) trait Subject: Learner + Sized {
    /// PEFT's name of the task.
    const TASK_TYPE: &'static str;

    /// The model in `folder`.
    fn load(folder: &Path) -> Result<Self>;

    /// Step `index` of `batches.safetensors`.
    fn step(batches: &StateDict, index: i64) -> Result<Self::Part>;

    /// Outputs by the cases' names; without gradient.
    fn outputs(&self, part: &Self::Part) -> Result<Named>;

    /// Hidden states by the cases' names; without gradient.
    fn states(&self, part: &Self::Part) -> Result<Named>;

    /// The part of a tensor, ours or theirs, that is specified.
    fn specified(_part: &Self::Part, _name: &str, tensor: &Tensor) -> Tensor {
        tensor.shallow_clone()
    }
}

/// Tensors and what cases call them.
pub(super) type Named = Vec<(String, Tensor)>;

/// The steps of a case.
pub(super) struct CaseFeed<'a, S> {
    batches: &'a StateDict,
    step: i64,
    subject: PhantomData<S>,
}

impl<'a, S> CaseFeed<'a, S> {
    pub(super) fn new(batches: &'a StateDict) -> Self {
        Self { batches, step: 0, subject: PhantomData }
    }
}

impl<S: Subject> Feed<S::Part> for CaseFeed<'_, S> {
    /// Nobody asks how much was seen.
    fn next_step(&mut self) -> Result<StepData<S::Part>> {
        let part = S::step(self.batches, self.step)?;
        self.step += 1;
        Ok(StepData { parts: vec![part], tokens: 0, samples: 0 })
    }

    fn restart(&mut self) {
        self.step = 0;
    }
}

fn batch(batches: &StateDict, name: &str, index: i64) -> Result<Tensor> {
    let all = batches.get(name);
    all.map(|all| all.get(index))
        .ok_or_else(|| Error::Usage(format!("batches.safetensors holds no `{name}`")))
}

/// Tokens `<prefix>input_ids` and what goes with them.
fn tokens(batches: &StateDict, prefix: &str, index: i64) -> Result<Tokens> {
    let name = |leaf: &str| format!("{prefix}{leaf}");
    Ok(Tokens {
        ids: batch(batches, &name("input_ids"), index)?,
        mask: batch(batches, &name("attention_mask"), index)?,
        types: batches.get(&name("token_type_ids")).map(|all| all.get(index)),
    })
}

/// `x [B, T, ..]` where there are tokens, `[tokens, ..]`.
fn at_tokens(mask: &Tensor, x: &Tensor) -> Tensor {
    let at = mask.reshape(-1).nonzero().view(-1);
    x.reshape([-1, x.size()[2]]).index_select(0, &at)
}

fn numbered(prefix: &str, states: Vec<Tensor>) -> impl Iterator<Item = (String, Tensor)> {
    states.into_iter().enumerate().map(move |(i, state)| (format!("{prefix}.{i}"), state))
}

fn files(folder: &Path) -> Result<ModelFiles> {
    Ok(ModelSource::Folder(folder.to_owned()).files(&[] as &[Builtin])?)
}

fn classifier(folder: &Path) -> Result<Classifier> {
    Ok(Classifier::load(&files(folder)?, Some(Kind::Float), Device::Cpu, HeadSource::Files)?)
}

impl Subject for CausalLm {
    const TASK_TYPE: &'static str = "CAUSAL_LM";

    fn load(folder: &Path) -> Result<Self> {
        Ok(Self::new(session::load_decoder(folder, Kind::Float, Device::Cpu)?, false))
    }

    fn step(batches: &StateDict, index: i64) -> Result<Part> {
        let labels = batch(batches, "labels", index)?;
        // The first label of a row is compared with nothing.
        let scored = labels.narrow(1, 1, labels.size()[1] - 1).ne(-100).sum(Kind::Int64).int64_value(&[]);
        Ok(Part { tokens: tokens(batches, "", index)?, labels, divisor: scored as f64 })
    }

    fn outputs(&self, part: &Part) -> Result<Named> {
        Ok(vec![("logits".to_owned(), tch::no_grad(|| Solver::outputs(self, part))?)])
    }

    fn states(&self, part: &Part) -> Result<Named> {
        let (ids, mask) = (&part.tokens.ids, &part.tokens.mask);
        let states = tch::no_grad(|| self.decoder.hidden_states(ids, Some(mask), Mode::Eval))?;
        Ok(numbered("hidden", states).collect())
    }

    fn specified(part: &Part, _: &str, tensor: &Tensor) -> Tensor {
        at_tokens(&part.tokens.mask, tensor)
    }
}

impl Subject for RowClassifier {
    const TASK_TYPE: &'static str = "SEQ_CLS";

    fn load(folder: &Path) -> Result<Self> {
        let model = classifier(folder)?;
        let head = model.config().head_module()?;
        Ok(Self::new(model, head))
    }

    fn step(batches: &StateDict, index: i64) -> Result<Part> {
        let labels = batch(batches, "labels", index)?;
        let divisor = labels.numel() as f64;
        Ok(Part { tokens: tokens(batches, "", index)?, labels, divisor })
    }

    fn outputs(&self, part: &Part) -> Result<Named> {
        Ok(vec![("logits".to_owned(), tch::no_grad(|| Solver::outputs(self, part))?)])
    }

    fn states(&self, part: &Part) -> Result<Named> {
        let states = tch::no_grad(|| self.model.hidden_states(part.tokens.rows(), Mode::Eval))?;
        Ok(numbered("hidden", states).collect())
    }

    fn specified(part: &Part, name: &str, tensor: &Tensor) -> Tensor {
        if name.starts_with("hidden") { at_tokens(&part.tokens.mask, tensor) } else { tensor.shallow_clone() }
    }
}

impl Subject for RewardModel {
    const TASK_TYPE: &'static str = "SEQ_CLS";

    fn load(folder: &Path) -> Result<Self> {
        Ok(Self(classifier(folder)?))
    }

    fn step(batches: &StateDict, index: i64) -> Result<Pairs> {
        let (chosen, rejected) = (tokens(batches, "chosen_", index)?, tokens(batches, "rejected_", index)?);
        let divisor = chosen.ids.size()[0] as f64;
        Ok(Pairs { chosen, rejected, divisor })
    }

    fn outputs(&self, part: &Pairs) -> Result<Named> {
        let scores = |tokens| tch::no_grad(|| self.scores(tokens, Mode::Eval));
        Ok(vec![
            ("score_chosen".to_owned(), scores(&part.chosen)?),
            ("score_rejected".to_owned(), scores(&part.rejected)?),
        ])
    }

    fn states(&self, part: &Pairs) -> Result<Named> {
        let states = tch::no_grad(|| self.0.hidden_states(part.chosen.rows(), Mode::Eval))?;
        Ok(numbered("hidden", states).collect())
    }
}

impl Subject for Translator {
    const TASK_TYPE: &'static str = "SEQ_2_SEQ_LM";

    fn load(folder: &Path) -> Result<Self> {
        Ok(Self(Seq2Seq::load(&files(folder)?, Some(Kind::Float), Device::Cpu)?))
    }

    fn step(batches: &StateDict, index: i64) -> Result<Part> {
        let labels = batch(batches, "labels", index)?;
        let divisor = labels.ne(-100).sum(Kind::Int64).int64_value(&[]) as f64;
        Ok(Part { tokens: tokens(batches, "", index)?, labels, divisor })
    }

    fn outputs(&self, part: &Part) -> Result<Named> {
        Ok(vec![("logits".to_owned(), tch::no_grad(|| Solver::outputs(self, part))?)])
    }

    fn states(&self, part: &Part) -> Result<Named> {
        let seen = self.seen(&part.labels);
        let states = tch::no_grad(|| self.0.hidden_states(part.tokens.rows(), &seen, Mode::Eval));
        let [encoder, decoder] = states?;
        Ok(numbered("hidden.encoder", encoder).chain(numbered("hidden.decoder", decoder)).collect())
    }

    fn specified(part: &Part, name: &str, tensor: &Tensor) -> Tensor {
        let by_mask = name.starts_with("hidden.encoder");
        if by_mask { at_tokens(&part.tokens.mask, tensor) } else { tensor.shallow_clone() }
    }
}
