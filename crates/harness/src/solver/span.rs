//! The answer to a question as a span of a text.

use models::{Activations, SPAN_HEAD, SpanModel};
use peft_core::{Adaptable, Mode, Part as ModelPart};
use tasks::{Encoded, Head, Item, Row, RowEncoder, SpanHead, Target, TaskConfig};
use tch::{Device, Kind, Tensor};

use super::{Answers, Exam, Solver, by_batches};
use crate::part::Part;
use crate::progress::Progress;
use crate::session::Text;
use crate::train::Learner;
use crate::{Error, Result};

/// An encoder that is trained to mark the answer in the second text of a pair.
#[derive(Debug)]
pub struct SpanFinder(pub SpanModel);

impl Learner for SpanFinder {
    type Part = Part;

    fn loss(&self, part: &Part, mode: Mode) -> Result<Tensor> {
        let logits = self.0.logits(part.tokens.rows(), mode, Activations::Keep)?;
        let [first, last] = [0, 1].map(|end| part.labels.select(1, end));
        Ok(self.0.loss(&logits, [&first, &last]) / part.divisor)
    }
}

/// The best span of one window.
#[derive(Clone, Debug)]
struct Found {
    /// Characters of the second text; none where the window has no token of it.
    place: Option<(usize, usize)>,
    /// Sum of the logits of both ends.
    score: f64,
    /// The same of the first token of the row, which stands for no answer.
    none: f64,
}

impl Solver for SpanFinder {
    fn task_type(&self) -> &'static str {
        "QUESTION_ANS"
    }

    fn fresh_modules(&self) -> Vec<String> {
        vec![SPAN_HEAD.to_owned()]
    }

    fn examples(&self, task: &TaskConfig, text: &Text, items: &[Item]) -> Result<Encoded> {
        let head = head(task)?;
        let encoder = RowEncoder::new(task, &text.tokenizer, Some(head.stride))?;
        Ok(encoder.sequences(items, |item, row| Ok(target(row, gold(head, item)?)))?)
    }

    fn answers(&self, exam: &Exam<'_>, items: &[Item], progress: &mut Progress) -> Result<Answers> {
        let head = head(exam.task)?;
        let rows = RowEncoder::new(exam.task, &exam.text.tokenizer, Some(head.stride))?.rows(items)?;
        let found = by_batches(&rows.rows, exam, progress, |tokens, batch| {
            let [first, last] = self.0.logits(tokens.rows(), Mode::Eval, Activations::Keep)?;
            let table =
                |t: &Tensor, row: usize| Vec::<f64>::try_from(t.get(row as i64).to_kind(Kind::Double));
            let one = |(index, row): (usize, &&Row)| {
                Ok(best(row, &table(&first, index)?, &table(&last, index)?, head.max_answer_tokens))
            };
            batch.iter().enumerate().map(one).collect()
        })?;
        let mut windows: Vec<Vec<Found>> = vec![Vec::new(); items.len()];
        for (&item, found) in rows.items.iter().zip(found) {
            windows[item].push(found);
        }
        let text = |(item, windows): (&Item, Vec<Found>)| vec![answer(item, &windows, head.unanswerable)];
        Ok(Answers { texts: items.iter().zip(windows).map(text).collect(), cut: rows.cut })
    }

    fn outputs(&self, part: &Part) -> Result<Tensor> {
        let logits = self.0.logits(part.tokens.rows(), Mode::Eval, Activations::Keep)?;
        // Padding has the logit −∞, which has no difference from itself.
        Ok(Tensor::stack(&logits, 0).nan_to_num(None, None, 0.0))
    }

    fn kind(&self) -> Kind {
        self.0.kind()
    }

    fn device(&self) -> Device {
        self.0.device()
    }
}

fn head(task: &TaskConfig) -> Result<&SpanHead> {
    match &task.head {
        Some(Head::Span(head)) => Ok(head),
        _ => Err(Error::Usage(format!("task `{}` asks for no span", task.name))),
    }
}

/// The characters of the first gold answer; none where there is no answer.
fn gold(head: &SpanHead, item: &Item) -> Result<Option<(usize, usize)>, String> {
    let list = |name: &str| {
        let text = item.fields.get(name).ok_or_else(|| format!("it has no field `{name}`"))?;
        serde_json::from_str::<serde_json::Value>(text)
            .map_err(|error| format!("its field `{name}`: {error}"))
    };
    let (answers, starts) = (list(&head.answers)?, list(&head.starts)?);
    match (answers.get(0).and_then(|a| a.as_str()), starts.get(0).and_then(serde_json::Value::as_u64)) {
        (Some(answer), Some(start)) => {
            let context = item.second.as_deref().unwrap_or_default();
            let there: String = context.chars().skip(start as usize).take(answer.chars().count()).collect();
            if there == answer {
                Ok(Some((start as usize, start as usize + answer.chars().count())))
            } else {
                Err(format!("its answer `{answer}` is not at character {start}, where `{there}` stands"))
            }
        }
        (None, None) => Ok(None),
        _ => Err(format!("`{}` and `{}` differ in length", head.answers, head.starts)),
    }
}

/// The tokens of `gold` in `row`; the first token of the row where the answer is not wholly in it.
fn target(row: &Row, gold: Option<(usize, usize)>) -> Target {
    let within = gold.and_then(|(from, to)| {
        let holds =
            |at: usize| move |place: &Option<(usize, usize)>| place.is_some_and(|(a, b)| a <= at && at < b);
        let first = row.places.iter().position(holds(from))?;
        let last = row.places.iter().rposition(holds(to.checked_sub(1)?))?;
        (first <= last).then_some(Target::Span { first, last })
    });
    within.unwrap_or(Target::Span { first: 0, last: 0 })
}

/// Ends that are looked at, as in the reference implementation.
const CANDIDATES: usize = 20;

/// The best span of at most `longest` tokens of the second text.
fn best(row: &Row, first: &[f64], last: &[f64], longest: usize) -> Found {
    let candidates = |logits: &[f64]| {
        let mut at: Vec<usize> = (0..row.places.len()).filter(|&i| row.places[i].is_some()).collect();
        at.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        at.truncate(CANDIDATES);
        at
    };
    let (starts, ends) = (candidates(first), candidates(last));
    let mut found = Found { place: None, score: f64::NEG_INFINITY, none: first[0] + last[0] };
    for &start in &starts {
        for &end in ends.iter().filter(|&&end| start <= end && end < start + longest) {
            let score = first[start] + last[end];
            if let (true, Some((from, _)), Some((_, to))) =
                (score > found.score, row.places[start], row.places[end])
            {
                found = Found { place: Some((from, to)), score, ..found };
            }
        }
    }
    found
}

/// The best span of all windows, as text; empty where none, or no answer scores higher.
fn answer(item: &Item, windows: &[Found], unanswerable: bool) -> String {
    let none = windows.iter().map(|found| found.none).fold(f64::INFINITY, f64::min);
    let best = windows.iter().max_by(|a, b| a.score.total_cmp(&b.score));
    let Some(best) = best else { return String::new() };
    match best.place {
        Some((from, to)) if !(unanswerable && none > best.score) => {
            item.second.iter().flat_map(|text| text.chars().skip(from).take(to - from)).collect()
        }
        _ => String::new(),
    }
}

impl Adaptable for SpanFinder {
    fn parts(&mut self) -> Vec<ModelPart<'_>> {
        self.0.parts()
    }
}
