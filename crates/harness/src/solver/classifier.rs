//! A class or a value for each row.

use models::{Activations, Classifier};
use peft_core::{Adaptable, Mode, Part as ModelPart};
use tasks::{Encoded, Head, Item, Row, RowEncoder, Target, TaskConfig};
use tch::{Device, Kind, Tensor};

use super::{Answers, Exam, Solver, by_batches};
use crate::Result;
use crate::part::Part;
use crate::progress::Progress;
use crate::session::Text;
use crate::train::Learner;

/// A classifier that is trained on labels.
#[derive(Debug)]
pub struct RowClassifier {
    /// The model.
    pub model: Classifier,
    /// The module that it adds to the body.
    head: &'static str,
}

impl RowClassifier {
    /// Around `model`, whose `head` is fresh.
    pub fn new(model: Classifier, head: &'static str) -> Self {
        Self { model, head }
    }
}

impl Learner for RowClassifier {
    type Part = Part;

    fn loss(&self, part: &Part, mode: Mode) -> Result<Tensor> {
        let logits = self.model.logits(part.tokens.rows(), mode, Activations::Keep)?;
        Ok(self.model.loss(&logits, &part.labels)? / part.divisor)
    }
}

impl Solver for RowClassifier {
    fn task_type(&self) -> &'static str {
        "SEQ_CLS"
    }

    fn fresh_modules(&self) -> Vec<String> {
        vec![self.head.to_owned()]
    }

    fn examples(&self, task: &TaskConfig, text: &Text, items: &[Item]) -> Result<Encoded> {
        let encoder = RowEncoder::new(task, &text.tokenizer, None)?;
        Ok(encoder.sequences(items, |item, _| label(task, item.response.trim()))?)
    }

    fn answers(&self, exam: &Exam<'_>, items: &[Item], progress: &mut Progress) -> Result<Answers> {
        let rows = RowEncoder::new(exam.task, &exam.text.tokenizer, None)?.rows(items)?;
        let texts = by_batches(&rows.rows, exam, progress, |tokens, _: &[&Row]| {
            let logits = self.model.logits(tokens.rows(), Mode::Eval, Activations::Keep)?;
            Ok(match &exam.task.head {
                Some(Head::Classes(classes)) => {
                    let best = Vec::<i64>::try_from(logits.argmax(1, false))?;
                    best.into_iter().map(|class| vec![classes[class as usize].clone()]).collect()
                }
                _ => {
                    let values = Vec::<f64>::try_from(logits.squeeze_dim(1).to_kind(Kind::Double))?;
                    values.into_iter().map(|value| vec![value.to_string()]).collect()
                }
            })
        })?;
        Ok(Answers { texts, cut: rows.cut })
    }

    fn outputs(&self, part: &Part) -> Result<Tensor> {
        Ok(self.model.logits(part.tokens.rows(), Mode::Eval, Activations::Keep)?)
    }

    fn kind(&self) -> Kind {
        self.model.kind()
    }

    fn device(&self) -> Device {
        self.model.device()
    }
}

/// What the text of a label means.
fn label(task: &TaskConfig, text: &str) -> Result<Target, String> {
    match &task.head {
        Some(Head::Classes(classes)) => {
            let class = classes.iter().position(|class| class == text);
            class
                .map(Target::Class)
                .ok_or_else(|| format!("its label `{text}` is none of {}", classes.join(", ")))
        }
        _ => {
            let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
            value.map(Target::Value).ok_or_else(|| format!("its label `{text}` is no number"))
        }
    }
}

impl Adaptable for RowClassifier {
    fn parts(&mut self) -> Vec<ModelPart<'_>> {
        self.model.parts()
    }
}
