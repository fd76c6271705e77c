//! A model and what a task is for it: what it learns from an item, and how it answers one.

mod causal_lm;
mod classifier;
mod likelihood;
mod span;
mod translator;

pub use causal_lm::CausalLm;
pub use classifier::RowClassifier;
pub use span::SpanFinder;
pub use translator::Translator;

use models::{Classifier, Decoder, HeadSource, ModelConfig, ModelFiles, Seq2Seq, SpanModel};
use peft_core::{Adaptable, Mode, Part as ModelPart, Seeds};
use tasks::{Encoded, Head, Item, Row, TaskConfig};
use tch::{Device, Kind, Tensor};

use crate::part::{Part, Tokens};
use crate::progress::Progress;
use crate::session::{Text, kind_of};
use crate::train::Learner;
use crate::{Error, Result, interrupt};

/// A model that learns a task and answers it.
pub trait Solver: Learner<Part = Part> {
    /// What PEFT calls the kind of task: `CAUSAL_LM`, `SEQ_CLS`, …
    fn task_type(&self) -> &'static str;

    /// What of the model no checkpoint holds: it is trained with the adapter, and saved whole with it.
    fn fresh_modules(&self) -> Vec<String> {
        Vec::new()
    }

    /// Items as it learns from them.
    ///
    /// # Errors
    /// If an item is too long and may not be cut, or its label is none of the task.
    fn examples(&self, task: &TaskConfig, text: &Text, items: &[Item]) -> Result<Encoded>;

    /// Its answers to items.
    ///
    /// # Errors
    /// [`Error::Interrupted`]; if a prompt does not fit; if it cannot answer as the task wants.
    fn answers(&self, exam: &Exam<'_>, items: &[Item], progress: &mut Progress) -> Result<Answers>;

    /// What it computes for `part`, whatever that is: two ways of computing it can be compared.
    ///
    /// # Errors
    /// If the part does not fit.
    fn outputs(&self, part: &Part) -> Result<Tensor>;

    /// Kind in which it computes.
    fn kind(&self) -> Kind;

    /// Where it computes.
    fn device(&self) -> Device;

    /// The language model that it is, if it is one.
    fn as_causal_lm(&self) -> Option<&CausalLm> {
        None
    }
}

/// What answering needs besides the model.
#[derive(Clone, Copy, Debug)]
pub struct Exam<'a> {
    /// The task.
    pub task: &'a TaskConfig,
    /// The model's tokenizer.
    pub text: &'a Text,
    /// Items answered at a time.
    pub batch_size: usize,
    /// Streams of sampled decoding.
    pub seeds: &'a Seeds,
}

/// Answers to items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// For each item as many texts as the task samples.
    pub texts: Vec<Vec<String>>,
    /// Prompts that were cut to fit the context.
    pub cut: usize,
}

/// The model in `files` as `task` needs it: with the head it asks for, drawn from `seeds`.
///
/// # Errors
/// For files that are missing or malformed, and for a model that cannot do what is asked.
pub fn load(
    task: &TaskConfig,
    files: &ModelFiles,
    text: &Text,
    device: Device,
    gradient_checkpointing: bool,
    seeds: &Seeds,
) -> Result<Box<dyn Solver>> {
    let kind = kind_of(task.training.dtype);
    let fresh = |labels| HeadSource::Fresh { labels, seeds };
    let make = Make {
        decoder: &|_| text.decoder_of(files, kind, device),
        classifier: &|_, labels| Classifier::load(files, Some(kind), device, fresh(labels)),
        span: &|_| SpanModel::load(files, Some(kind), device, fresh(2)),
        seq2seq: &|_| Seq2Seq::load(files, Some(kind), device),
    };
    make.solver(task, &ModelConfig::load(files)?, gradient_checkpointing)
}

/// The same with random weights: as fast and as large as the real one.
///
/// # Errors
/// For a model that cannot do what is asked.
pub fn random(
    task: &TaskConfig,
    config: &ModelConfig,
    device: Device,
    gradient_checkpointing: bool,
) -> Result<Box<dyn Solver>> {
    let (kind, seeds) = (kind_of(task.training.dtype), &Seeds::new(0));
    let make = Make {
        decoder: &|config| Decoder::random(config, seeds, kind, device),
        classifier: &|config, labels| Classifier::random(config, labels, seeds, kind, device),
        span: &|config| SpanModel::random(config, seeds, kind, device),
        seq2seq: &|config| Seq2Seq::random(config, seeds, kind, device),
    };
    make.solver(task, config, gradient_checkpointing)
}

/// The same without storage, to count and to select layers in.
///
/// # Errors
/// As [`random`].
pub fn outline(task: &TaskConfig, config: &ModelConfig) -> Result<Box<dyn Solver>> {
    let make = Make {
        decoder: &Decoder::outline,
        classifier: &Classifier::outline,
        span: &SpanModel::outline,
        seq2seq: &Seq2Seq::outline,
    };
    make.solver(task, config, false)
}

/// How each kind of model comes about.
struct Make<'a> {
    decoder: &'a dyn Fn(&ModelConfig) -> peft_core::Result<Decoder>,
    classifier: &'a dyn Fn(&ModelConfig, i64) -> peft_core::Result<Classifier>,
    span: &'a dyn Fn(&ModelConfig) -> peft_core::Result<SpanModel>,
    seq2seq: &'a dyn Fn(&ModelConfig) -> peft_core::Result<Seq2Seq>,
}

impl Make<'_> {
    /// The model that `task` needs.
    fn solver(
        self,
        task: &TaskConfig,
        config: &ModelConfig,
        gradient_checkpointing: bool,
    ) -> Result<Box<dyn Solver>> {
        let classifier = |labels| -> Result<Box<dyn Solver>> {
            Ok(Box::new(RowClassifier::new((self.classifier)(config, labels)?, config.head_module()?)))
        };
        let solver: Box<dyn Solver> = match &task.head {
            Some(Head::Classes(classes)) => classifier(classes.len() as i64)?,
            Some(Head::Value) => classifier(1)?,
            Some(Head::Span(_)) => Box::new(SpanFinder((self.span)(config)?)),
            None if config.seq2seq().is_ok() => Box::new(Translator((self.seq2seq)(config)?)),
            None => Box::new(CausalLm::new((self.decoder)(config)?, gradient_checkpointing)),
        };
        if gradient_checkpointing && solver.as_causal_lm().is_none() {
            let reason =
                "`--gradient-checkpointing` is for decoders that write; this model keeps its activations";
            return Err(Error::Usage(reason.to_owned()));
        }
        Ok(solver)
    }
}

impl Learner for Box<dyn Solver> {
    type Part = Part;

    fn loss(&self, part: &Part, mode: Mode) -> Result<Tensor> {
        (**self).loss(part, mode)
    }

    fn trains(&mut self, tensors: Vec<Tensor>) {
        (**self).trains(tensors);
    }
}

impl Adaptable for Box<dyn Solver> {
    fn parts(&mut self) -> Vec<ModelPart<'_>> {
        (**self).parts()
    }
}

/// Answers rows in batches of similar length, the longest first; `answer` gives one value for each row of a batch.
fn by_batches<T: Clone>(
    rows: &[Row],
    exam: &Exam<'_>,
    progress: &mut Progress,
    mut answer: impl FnMut(&Tokens, &[&Row]) -> Result<Vec<T>>,
) -> Result<Vec<T>> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(rows[index].tokens.len()));
    let mut answers: Vec<Option<T>> = vec![None; rows.len()];
    for indices in order.chunks(exam.batch_size.max(1)) {
        if interrupt::asked() {
            return Err(Error::Interrupted);
        }
        let batch: Vec<&Row> = indices.iter().map(|&index| &rows[index]).collect();
        let tokens = tokens(&batch, exam.text.tokenizer.pad());
        for (&index, answered) in indices.iter().zip(tch::no_grad(|| answer(&tokens, &batch))?) {
            answers[index] = Some(answered);
            progress.step(rows[index].tokens.len() as u64, "");
        }
    }
    Ok(answers.into_iter().map(|answer| answer.expect("one for each row")).collect())
}

/// Rows padded to a rectangle.
fn tokens(rows: &[&Row], pad: u32) -> Tokens {
    let of = |row: &&Row| tasks::Sequence {
        tokens: row.tokens.clone(),
        types: row.types.clone(),
        target: tasks::Target::Class(0),
    };
    let sequences: Vec<tasks::Sequence> = rows.iter().map(of).collect();
    Tokens::new(&tasks::Batch::new(&sequences.iter().collect::<Vec<_>>(), pad))
}
