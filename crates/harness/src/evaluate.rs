//! Answers and their scores.

use std::time::{Duration, Instant};

use compare::Outcome;
use peft_core::{Mode, Seeds};
use tasks::{Item, Judged, Permission, Reduction, Scorer, Sequence, Split, Task, TaskConfig};

use crate::feed::{Cut, step_data};
use crate::part::Part;
use crate::progress::Display;
use crate::session::Text;
use crate::solver::{Exam, Solver};
use crate::{Error, Result};

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

impl Scored {
    /// The metric of a validation split.
    ///
    /// # Errors
    /// If a score is not finite.
    pub fn on_validation(&self, metric: &compare::Metric) -> Result<Option<f64>> {
        Ok(metric.measure_on(compare::Split::Validation, &self.outcomes)?.map(|measured| measured.value))
    }
}

/// What answering needs besides the model.
#[derive(Clone, Copy, Debug)]
pub struct Examiner<'a> {
    /// The task.
    pub task: &'a Task,
    /// The model's tokenizer.
    pub text: &'a Text,
    /// Prompts answered at a time, unless the task says how many.
    pub batch_size: usize,
    /// What generated code may do.
    pub permission: Permission,
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
    pub fn score(&self, learner: &dyn Solver, split: Split, label: &str) -> Result<Scored> {
        let started = Instant::now();
        let config = self.task.config();
        let all = self.task.items(split);
        let batch = config.decoding.batch;
        let items = &all[..batch.map_or(all.len(), |batch| batch.answered(all.len()))];
        let batch_size = batch.map_or(self.batch_size, |batch| batch.size);
        let exam = Exam { task: config, text: self.text, batch_size, seeds: self.seeds };
        let mut progress = self.display.start(label, items.len() as u64);
        let answers = learner.answers(&exam, items, &mut progress)?;

        let (scores, metrics) = judge(config, self.permission, items, &answers.texts)?;
        if let Some(metric) = Scorer::new(&config.scoring).metrics().first() {
            let value = metric.value(&scores).map_or("–".to_owned(), |value| format!("{value:.3}"));
            progress.finish(&format!("{} {value}", metric.name));
        }
        let outcome = |((item, texts), scores): ((&Item, Vec<String>), tasks::Scores)| Outcome {
            id: item.id.clone(),
            cluster: item.cluster.clone(),
            split: compare_split(split),
            output: output(texts),
            scores: scores.into_iter().map(|(name, score)| (name.to_owned(), score)).collect(),
        };
        Ok(Scored {
            outcomes: items.iter().zip(answers.texts).zip(scores).map(outcome).collect(),
            metrics,
            time: started.elapsed(),
            truncated: answers.cut,
        })
    }
}

/// Scores of answers to items, by the rules of their task, and the metrics that these make, primary first.
///
/// # Errors
/// As [`Scorer::score`].
pub fn judge(
    config: &TaskConfig,
    permission: Permission,
    items: &[Item],
    texts: &[Vec<String>],
) -> Result<(Vec<tasks::Scores>, Vec<compare::Metric>)> {
    let scorer = Scorer::new(&config.scoring).permit(permission);
    let scores = match config.decoding.judged {
        Judged::Answer => scorer.score(items, texts),
        Judged::PromptAndAnswer => scorer.score(items, &after_prompts(items, texts)),
    }?;
    Ok((scores, scorer.metrics().iter().map(metric).collect()))
}

fn after_prompts(items: &[Item], texts: &[Vec<String>]) -> Vec<Vec<String>> {
    let one = |(item, texts): (&Item, &Vec<String>)| {
        texts.iter().map(|text| format!("{}{text}", item.prompt)).collect()
    };
    items.iter().zip(texts).map(one).collect()
}

/// What an outcome keeps: the text, or, of several samples, a JSON list of them.
fn output(mut texts: Vec<String>) -> String {
    if texts.len() == 1 {
        return texts.swap_remove(0);
    }
    serde_json::to_string(&texts).expect("texts print")
}

/// The texts that an outcome keeps, of which there are `samples`; or why they are not there.
///
/// # Errors
/// A sentence, if there are others.
pub fn texts(output: &str, samples: usize) -> Result<Vec<String>, String> {
    if samples == 1 {
        return Ok(vec![output.to_owned()]);
    }
    let texts: Vec<String> = serde_json::from_str(output)
        .map_err(|error| format!("its outputs are no lists of {samples} texts: {error}"))?;
    let found = texts.len();
    if found == samples { Ok(texts) } else { Err(format!("an output has {found} texts, not {samples}")) }
}

/// Mean loss of `sequences`: the validation curve.
///
/// # Errors
/// If a sequence does not fit.
pub fn mean_loss(learner: &dyn Solver, sequences: &[Sequence], batch_size: usize, pad: u32) -> Result<f64> {
    let _guard = tch::no_grad_guard();
    let mut order: Vec<&Sequence> = sequences.iter().collect();
    order.sort_by_key(|sequence| sequence.tokens.len());
    let scored: usize = order.iter().map(|sequence| sequence.scored()).sum();
    let mut total = 0.0;
    for chunk in order.chunks(batch_size) {
        for mut part in step_data(chunk, Cut::none(chunk.len()), Reduction::TokenMean, pad).parts {
            part.divisor = scored as f64;
            total += learner.loss(&part, Mode::Eval)?.double_value(&[]);
        }
    }
    Ok(total)
}

/// Checks that merged weights compute what the adapter does, on one part; leaves the model merged.
///
/// # Errors
/// [`Error::MergeDiffers`].
pub fn merge_and_check(learner: &mut dyn Solver, part: &Part) -> Result<()> {
    /// Both sides round every weight and activation once more; in bf16 that is 2⁻⁸ relative, and layers add up.
    const BF16: f64 = 0.1;
    /// Two orders of the same f32 sums.
    const F32: f64 = 1e-3;
    let outputs = |learner: &dyn Solver| {
        tch::no_grad(|| Ok::<_, Error>(learner.outputs(part)?.to_kind(tch::Kind::Double)))
    };
    let adapted = outputs(learner)?;
    learner.merge();
    let merged = outputs(learner)?;
    let relative = if learner.kind() == tch::Kind::Float { F32 } else { BF16 };
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
    use compare::Aggregate as There;
    use tasks::Aggregate as Here;
    let aggregate = match metric.aggregate {
        Here::Mean => There::Mean,
        Here::Matthews => There::Matthews,
        Here::F1 => There::F1,
        Here::Pearson => There::Pearson,
        Here::Spearman => There::Spearman,
        Here::Bleu => There::Bleu,
        Here::Perplexity => There::Perplexity,
        Here::BitsPerCharacter => There::BitsPerCharacter,
        Here::NatsPerToken => There::NatsPerToken,
    };
    let better = match metric.better {
        tasks::Better::Higher => compare::Better::Higher,
        tasks::Better::Lower => compare::Better::Lower,
    };
    let version = metric.version.to_string();
    compare::Metric { better, ..compare::Metric::aggregated(metric.name, version, aggregate) }
}
