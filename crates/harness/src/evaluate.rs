//! Answers and their scores.

use std::time::{Duration, Instant};

use compare::Outcome;
use models::{Completion, Generation, Sampling, Watch};
use peft_core::{Adaptable, Mode, Seeds};
use tasks::{Decoding, Encoder, Reduction, Scorer, Sequence, Split, Strategy, Task};
use tch::Tensor;

use crate::causal_lm::CausalLm;
use crate::feed::step_data;
use crate::progress::{Display, Progress};
use crate::session::Text;
use crate::train::Learner;
use crate::{Error, Result, interrupt};

/// Prompts answered at a time, where nothing else is said. Scores do not depend on it.
pub const BATCH_SIZE: usize = 128;

/// A scored split.
#[derive(Debug)]
pub struct Scored {
    /// Item by item.
    pub outcomes: Vec<Outcome>,
    /// What the task reports, primary first.
    pub metrics: Vec<compare::Metric>,
    /// How long answering took.
    pub time: Duration,
    /// Prompts that were cut to fit the context.
    pub truncated: usize,
}

/// What answering needs besides the model.
#[derive(Clone, Copy, Debug)]
pub struct Examiner<'a> {
    /// The task.
    pub task: &'a Task,
    /// The model's tokenizer.
    pub text: &'a Text,
    /// Prompts answered at a time.
    pub batch_size: usize,
    /// Streams of sampled decoding.
    pub seeds: &'a Seeds,
    /// How progress is shown.
    pub display: Display,
}

impl Examiner<'_> {
    /// Lets the model, as it is now (adapter active or not), answer `split`, and scores the answers.
    ///
    /// # Errors
    /// [`Error::Interrupted`]; if a prompt does not fit or a gold answer is malformed.
    pub fn score(&self, learner: &CausalLm, split: Split, label: &str) -> Result<Scored> {
        let started = Instant::now();
        let config = self.task.config();
        let items = self.task.items(split);
        let encoder = Encoder::new(config, &self.text.tokenizer)?;
        let context = learner.decoder.context() as usize;
        let encoded = encoder.prompts(items, config.decoding.max_new_tokens, context)?;
        let mut progress = self.display.start(label, encoded.prompts.len() as u64);
        let outputs = self.answers(learner, &encoded.prompts, &mut progress)?;

        let scorer = Scorer::new(&config.scoring);
        let scores = scorer.score(items, &outputs)?;
        if let Some(metric) = scorer.metrics().first() {
            let value = metric.value(&scores).map_or("–".to_owned(), |value| format!("{value:.3}"));
            progress.finish(&format!("{} {value}", metric.name));
        }
        let outcome = |((item, output), scores): ((&tasks::Item, String), tasks::Scores)| Outcome {
            id: item.id.clone(),
            cluster: item.cluster.clone(),
            split: compare_split(split),
            output,
            scores: scores.into_iter().map(|(name, score)| (name.to_owned(), score)).collect(),
        };
        Ok(Scored {
            outcomes: items.iter().zip(outputs).zip(scores).map(outcome).collect(),
            metrics: scorer.metrics().iter().map(metric).collect(),
            time: started.elapsed(),
            truncated: encoded.truncated.cut,
        })
    }

    fn answers(
        &self,
        learner: &CausalLm,
        prompts: &[Vec<u32>],
        progress: &mut Progress,
    ) -> Result<Vec<String>> {
        let decoding = &self.task.config().decoding;
        // Similar lengths together, the longest first.
        let mut order: Vec<usize> = (0..prompts.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(prompts[index].len()));
        let mut outputs = vec![String::new(); prompts.len()];
        for group in order.chunks(self.batch_size) {
            let rows: Vec<Vec<u32>> = group.iter().map(|&index| prompts[index].clone()).collect();
            let answers =
                generate(learner, self.text, decoding, &rows, self.seeds, &mut |_| interrupt::flow())?;
            if interrupt::asked() {
                return Err(Error::Interrupted);
            }
            for (&index, answer) in group.iter().zip(answers) {
                progress.step(answer.tokens.len() as u64, "");
                outputs[index] = answer.text;
            }
        }
        Ok(outputs)
    }
}

/// Continues `prompts` as a task's decoding section says; `watch` sees every token and may break off.
///
/// # Errors
/// If a prompt leaves too little room in the context.
pub fn generate(
    learner: &CausalLm,
    text: &Text,
    decoding: &Decoding,
    prompts: &[Vec<u32>],
    seeds: &Seeds,
    watch: Watch<'_>,
) -> Result<Vec<Completion>> {
    let sampling = match decoding.strategy {
        Strategy::Greedy => Sampling::Greedy,
        Strategy::Sample { temperature, top_p } => {
            Sampling::Nucleus { temperature, top_p, seeds: seeds.child("sampling") }
        }
    };
    let settings = Generation {
        max_new_tokens: decoding.max_new_tokens,
        sampling,
        end_tokens: text.end_tokens.clone(),
        stop_strings: decoding.stop.clone(),
        batch_size: prompts.len().max(1),
    };
    let prompts: Vec<Vec<i64>> =
        prompts.iter().map(|prompt| prompt.iter().map(|&id| i64::from(id)).collect()).collect();
    Ok(learner.decoder.generate(&prompts, &settings, Some(&text.decoder), watch)?)
}

/// Mean token loss on `split`, in nats: the validation curve.
///
/// # Errors
/// If a sequence does not fit.
pub fn mean_loss(learner: &CausalLm, sequences: &[Sequence], batch_size: usize, pad: u32) -> Result<f64> {
    let _guard = tch::no_grad_guard();
    let mut order: Vec<&Sequence> = sequences.iter().collect();
    order.sort_by_key(|sequence| sequence.tokens.len());
    let scored: usize = order.iter().map(|sequence| sequence.scored()).sum();
    let mut total = 0.0;
    for chunk in order.chunks(batch_size) {
        for mut part in step_data(chunk, chunk.len(), Reduction::TokenMean, pad).parts {
            part.divisor = scored as f64;
            total += learner.loss(&part, Mode::Eval)?.double_value(&[]);
        }
    }
    Ok(total)
}

/// Checks that merged weights compute what the adapter does, on one batch of prompts; leaves the model merged.
///
/// # Errors
/// [`Error::MergeDiffers`].
pub fn merge_and_check(learner: &mut CausalLm, ids: &Tensor) -> Result<()> {
    /// Both sides round every weight and activation once more; in bf16 that is 2⁻⁸ relative, and layers add up.
    const BF16: f64 = 0.1;
    /// Two orders of the same f32 sums.
    const F32: f64 = 1e-3;
    let logits = |learner: &CausalLm| {
        tch::no_grad(|| {
            let decoder = &learner.decoder;
            let hidden = decoder.hidden(ids, None, Mode::Eval, models::Activations::Keep)?;
            Ok::<Tensor, Error>(decoder.logits(&hidden, Mode::Eval).to_kind(tch::Kind::Double))
        })
    };
    let adapted = logits(learner)?;
    learner.merge();
    let merged = logits(learner)?;
    let relative = if learner.decoder.kind() == tch::Kind::Float { F32 } else { BF16 };
    let allowed = relative * adapted.abs().max().double_value(&[]);
    let difference = (merged - adapted).abs().max().double_value(&[]);
    let alike = difference <= allowed; // not so if either is NaN
    if alike { Ok(()) } else { Err(Error::MergeDiffers { difference, allowed }) }
}

/// The tasks crate's split as records name it.
pub fn compare_split(split: Split) -> compare::Split {
    match split {
        Split::Train => compare::Split::Train,
        Split::Validation => compare::Split::Validation,
        Split::Test => compare::Split::Test,
    }
}

fn metric(metric: &tasks::Metric) -> compare::Metric {
    let better = match metric.better {
        tasks::Better::Higher => compare::Better::Higher,
        tasks::Better::Lower => compare::Better::Lower,
    };
    compare::Metric { better, ..compare::Metric::new(metric.name, metric.version.to_string()) }
}
