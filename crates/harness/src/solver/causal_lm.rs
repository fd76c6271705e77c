//! A decoder: next-token prediction.

use models::{Activations, Completion, Decoder, Generation, Sampling, Watch};
use peft_core::{Adaptable, Mode, Part as ModelPart, Seeds};
use tasks::{Decoding, Encoded, Encoder, Item, Strategy, TaskConfig};
use tch::{Device, Kind, Tensor};

use super::{Answers, Exam, Solver, likelihood};
use crate::part::Part;
use crate::progress::Progress;
use crate::session::Text;
use crate::train::Learner;
use crate::{Error, Result, interrupt};

/// A decoder that is trained to predict tokens.
#[derive(Debug)]
pub struct CausalLm {
    /// The model.
    pub decoder: Decoder,
    recompute: Option<Vec<Tensor>>,
}

impl CausalLm {
    /// Around `decoder`; `gradient_checkpointing` recomputes activations in backward.
    pub fn new(decoder: Decoder, gradient_checkpointing: bool) -> Self {
        Self { decoder, recompute: gradient_checkpointing.then(Vec::new) }
    }

    /// Continues `prompts` as a task's decoding section says; `watch` sees every token and may break off.
    ///
    /// # Errors
    /// If a prompt leaves too little room in the context, or the task does not want anything written.
    pub fn generate(
        &self,
        text: &Text,
        decoding: &Decoding,
        prompts: &[Vec<u32>],
        batch_size: usize,
        seeds: &Seeds,
        watch: Watch<'_>,
    ) -> Result<Vec<Completion>> {
        let sampling = match decoding.strategy {
            Strategy::Greedy => Sampling::Greedy,
            Strategy::Sample { temperature, top_p } => {
                Sampling::Nucleus { temperature, top_p, seeds: seeds.child("sampling") }
            }
            Strategy::Beams { .. } | Strategy::Likelihood { .. } | Strategy::Reading => {
                let reason = "a decoder writes by `strategy = \"greedy\"` or `{ sample = … }`";
                return Err(Error::Usage(reason.to_owned()));
            }
        };
        let settings = Generation {
            max_new_tokens: decoding.max_new_tokens,
            sampling,
            end_tokens: text.end_tokens.clone(),
            stop_strings: decoding.stop.clone(),
            batch_size,
        };
        let prompts: Vec<Vec<i64>> =
            prompts.iter().map(|prompt| prompt.iter().map(|&id| i64::from(id)).collect()).collect();
        Ok(self.decoder.generate(&prompts, &settings, Some(&text.decoder), watch)?)
    }

    /// The *floor*: loss of the frozen model on `part`, and its gradient down to the output of the embedding. What any adapter
    /// pays for a step, whatever it trains; none is to be active.
    ///
    /// # Errors
    /// If the part does not fit.
    pub fn floor(&self, part: &Part, mode: Mode) -> Result<f64> {
        let embedded = self.decoder.embed(&part.tokens.ids)?.detach().set_requires_grad(true);
        let mask = Some(&part.tokens.mask);
        let hidden = self.decoder.hidden_from(&embedded, mask, mode, Activations::Keep)?;
        let loss = self.decoder.loss(&hidden, &part.labels, mode)?.sum / part.divisor;
        Tensor::f_run_backward(&[&loss], &[&embedded], false, false)?;
        Ok(loss.double_value(&[]))
    }

    fn write(&self, exam: &Exam<'_>, items: &[Item], progress: &mut Progress) -> Result<Answers> {
        let decoding = &exam.task.decoding;
        let encoder = Encoder::new(exam.task, &exam.text.tokenizer)?;
        let encoded = encoder.prompts(items, decoding.max_new_tokens, self.decoder.context() as usize)?;
        let samples = decoding.samples;
        let prompts: Vec<Vec<u32>> =
            encoded.prompts.into_iter().flat_map(|prompt| std::iter::repeat_n(prompt, samples)).collect();
        let mut begun = vec![false; prompts.len()];
        let watch: Watch<'_> = &mut |new| {
            let first = !std::mem::replace(&mut begun[new.prompt], true);
            if first && new.prompt.is_multiple_of(samples) {
                progress.step(0, "");
            }
            interrupt::flow()
        };
        let answers = self.generate(exam.text, decoding, &prompts, exam.batch_size, exam.seeds, watch)?;
        if interrupt::asked() {
            return Err(Error::Interrupted);
        }
        let texts: Vec<String> = answers.into_iter().map(|answer| answer.text).collect();
        Ok(Answers {
            texts: texts.chunks(samples).map(<[String]>::to_vec).collect(),
            cut: encoded.truncated.cut,
        })
    }
}

impl Learner for CausalLm {
    type Part = Part;

    fn loss(&self, part: &Part, mode: Mode) -> Result<Tensor> {
        let activations = match &self.recompute {
            Some(trainable) => Activations::Recompute { trainable },
            None => Activations::Keep,
        };
        let hidden = self.decoder.hidden(&part.tokens.ids, Some(&part.tokens.mask), mode, activations)?;
        Ok(self.decoder.loss(&hidden, &part.labels, mode)?.sum / part.divisor)
    }

    fn trains(&mut self, tensors: Vec<Tensor>) {
        if let Some(trainable) = &mut self.recompute {
            *trainable = tensors;
        }
    }
}

impl Solver for CausalLm {
    fn task_type(&self) -> &'static str {
        "CAUSAL_LM"
    }

    fn examples(&self, task: &TaskConfig, text: &Text, items: &[Item]) -> Result<Encoded> {
        Ok(Encoder::new(task, &text.tokenizer)?.sequences(items)?)
    }

    fn answers(&self, exam: &Exam<'_>, items: &[Item], progress: &mut Progress) -> Result<Answers> {
        match &exam.task.decoding.strategy {
            Strategy::Likelihood { options, normalize } => {
                likelihood::choose(self, exam, items, options, *normalize, progress)
            }
            Strategy::Reading => likelihood::read(self, exam, items, progress),
            _ => self.write(exam, items, progress),
        }
    }

    fn outputs(&self, part: &Part) -> Result<Tensor> {
        let tokens = &part.tokens;
        let hidden = self.decoder.hidden(&tokens.ids, Some(&tokens.mask), Mode::Eval, Activations::Keep)?;
        Ok(self.decoder.logits(&hidden, Mode::Eval))
    }

    fn kind(&self) -> Kind {
        self.decoder.kind()
    }

    fn device(&self) -> Device {
        self.decoder.device()
    }

    fn as_causal_lm(&self) -> Option<&CausalLm> {
        Some(self)
    }
}

impl Adaptable for CausalLm {
    fn parts(&mut self) -> Vec<ModelPart<'_>> {
        self.decoder.parts()
    }
}
