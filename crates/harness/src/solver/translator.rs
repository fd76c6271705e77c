//! An encoder-decoder: the next token of a target, given a source.

use models::{BeamSearch, IGNORED, Seq2Seq, Stop};
use peft_core::{Adaptable, Mode, Part as ModelPart};
use tasks::{Encoded, Item, Row, RowEncoder, Strategy, Target, TaskConfig};
use tch::{Device, Kind, Tensor};

use super::{Answers, Exam, Solver, by_batches};
use crate::part::Part;
use crate::progress::Progress;
use crate::session::Text;
use crate::train::Learner;
use crate::{Error, Result};

/// A model that is trained to write targets.
#[derive(Debug)]
pub struct Translator(pub Seq2Seq);

impl Translator {
    /// What the decoder sees of `labels [B, U]`: each token one place later, after its start token.
    pub fn seen(&self, labels: &Tensor) -> Tensor {
        let (rows, length) = (labels.size()[0], labels.size()[1]);
        let start = Tensor::full([rows, 1], self.0.shape().start_token, (Kind::Int64, labels.device()));
        let before = labels.narrow(1, 0, length - 1);
        // What follows the end is not scored: any token would do there.
        let pad = self.number("pad_token_id").unwrap_or_default();
        Tensor::cat(&[start, before.masked_fill(&before.eq(IGNORED), pad)], 1)
    }

    /// A number in the model's configuration.
    fn number(&self, key: &str) -> Option<i64> {
        self.0.config().json().get(key)?.as_i64()
    }

    fn hidden(&self, part: &Part, mode: Mode) -> Result<Tensor> {
        let source = self.0.encode(part.tokens.rows(), mode)?;
        Ok(self.0.hidden(&source, &self.seen(&part.labels), mode)?)
    }
}

impl Learner for Translator {
    type Part = Part;

    fn loss(&self, part: &Part, mode: Mode) -> Result<Tensor> {
        let hidden = self.hidden(part, mode)?;
        Ok(self.0.loss(&hidden, &part.labels, mode)?.sum / part.divisor)
    }
}

impl Solver for Translator {
    fn task_type(&self) -> &'static str {
        "SEQ_2_SEQ_LM"
    }

    fn examples(&self, task: &TaskConfig, text: &Text, items: &[Item]) -> Result<Encoded> {
        let encoder = RowEncoder::new(task, &text.tokenizer, None)?;
        let target = |item: &Item, _: &Row| {
            encoder.text(&item.response).map(Target::Text).map_err(|error| error.to_string())
        };
        Ok(encoder.sequences(items, target)?)
    }

    fn answers(&self, exam: &Exam<'_>, items: &[Item], progress: &mut Progress) -> Result<Answers> {
        let decoding = &exam.task.decoding;
        let (beams, length_penalty) = match decoding.strategy {
            Strategy::Greedy => (1, 1.0),
            Strategy::Beams { count, length_penalty } => (count, length_penalty),
            _ => {
                let reason = "an encoder-decoder answers by `strategy = \"greedy\"` or `{ beams = … }`";
                return Err(Error::Usage(format!("task `{}`: {reason}", exam.task.name)));
            }
        };
        let search = BeamSearch {
            beams,
            length_penalty,
            stop: Stop::default(),
            max_new_tokens: decoding.max_new_tokens,
            end_tokens: exam.text.end_tokens.clone(),
            forced_last: self.number("forced_eos_token_id"),
            forced_first: self.number("forced_bos_token_id"),
        };
        let rows = RowEncoder::new(exam.task, &exam.text.tokenizer, None)?.rows(items)?;
        let texts = by_batches(&rows.rows, exam, progress, |tokens, _: &[&Row]| {
            let found = self.0.generate(tokens.rows(), &search)?;
            found.iter().map(|found| Ok(vec![exam.text.decoder.decode(&found[0].tokens)?])).collect()
        })?;
        let stop = |text: &mut String| {
            if let Some(at) = decoding.stop.iter().filter_map(|stop| text.find(stop)).min() {
                text.truncate(at);
            }
        };
        let mut answers = Answers { texts, cut: rows.cut };
        answers.texts.iter_mut().flatten().for_each(stop);
        Ok(answers)
    }

    fn outputs(&self, part: &Part) -> Result<Tensor> {
        Ok(self.0.logits(&self.hidden(part, Mode::Eval)?, Mode::Eval))
    }

    fn kind(&self) -> Kind {
        self.0.kind()
    }

    fn device(&self) -> Device {
        self.0.device()
    }
}

impl Adaptable for Translator {
    fn parts(&mut self) -> Vec<ModelPart<'_>> {
        self.0.parts()
    }
}
