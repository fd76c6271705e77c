//! Continuing prompts.

use std::ops::ControlFlow;

use peft_core::{Error, Result};
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

use crate::cache::KvCache;
use crate::decoder::Decoder;
use crate::sampling::Sampling;
use crate::step::{RowKeys, Step};
use crate::tokenizer::{TextStream, Tokenizer};

/// How to continue.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Tokens after which a row ends in any case.
    pub max_new_tokens: usize,
    /// How a token is chosen.
    pub sampling: Sampling,
    /// A row ends with any of these tokens.
    pub end_tokens: Vec<i64>,
    /// A row ends when its text contains any of these; needs a tokenizer.
    pub stop_strings: Vec<String>,
    /// Prompts that are continued together. The result does not depend on it, up to rounding.
    pub batch_size: usize,
}

/// Why a row ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// With an end token, the last of its tokens.
    EndToken,
    /// With a stop string.
    StopString,
    /// At `max_new_tokens`.
    Length,
    /// Because the watcher broke off.
    Interrupted,
}

/// A continuation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// New tokens.
    pub tokens: Vec<i64>,
    /// Their text without special tokens and end token, up to the stop string; empty without a tokenizer.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
}

/// A token just chosen.
#[derive(Debug)]
pub struct NewToken<'a> {
    /// Number of the prompt.
    pub prompt: usize,
    /// The token.
    pub token: i64,
    row: i64,
    logits: &'a Tensor,
}

impl NewToken<'_> {
    /// What it was chosen from, `[V]`.
    pub fn logits(&self) -> Tensor {
        self.logits.get(self.row)
    }
}

/// Sees tokens as they are chosen; `Break` ends the generation, with [`Finish::Interrupted`] for all that is left.
pub type Watch<'a> = &'a mut dyn FnMut(&NewToken<'_>) -> ControlFlow<()>;

impl Decoder {
    /// Continues `prompts`; `watch` sees every token as it is chosen, and may break off.
    ///
    /// Rows of a batch are padded on the left; each is what it would be alone. A row that has ended leaves its
    /// batch. Merge an adapter first: the products with its factors would be repeated for every token.
    ///
    /// # Errors
    /// If a prompt is empty or leaves too little room in the context, a setting is out of range, or stop strings are
    /// given without a tokenizer.
    pub fn generate(
        &self,
        prompts: &[Vec<i64>],
        settings: &Generation,
        tokenizer: Option<&Tokenizer>,
        watch: Watch<'_>,
    ) -> Result<Vec<Completion>> {
        self.check(prompts, settings, tokenizer)?;
        // Prompts of similar length together, the longest first.
        let mut order: Vec<usize> = (0..prompts.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(prompts[index].len()));
        let mut all: Vec<Completion> = prompts.iter().map(|_| Completion::not_begun()).collect();
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0) + settings.max_new_tokens;
        let mut step = Step::of(self, (longest as i64).min(self.context()));
        tch::no_grad(|| {
            for batch in order.chunks(settings.batch_size) {
                let rows = batch.iter().map(|&index| Row::new(index, settings, tokenizer)).collect();
                let (ended, flow) = self.continue_batch(prompts, rows, settings, step.as_mut(), watch)?;
                for (row, finish) in ended {
                    let prompt = row.prompt;
                    all[prompt] = row.complete(finish, tokenizer)?;
                }
                if flow.is_break() {
                    break;
                }
            }
            Ok(all)
        })
    }

    fn check(
        &self,
        prompts: &[Vec<i64>],
        settings: &Generation,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<()> {
        settings.sampling.check()?;
        if settings.max_new_tokens == 0 || settings.batch_size == 0 {
            let (name, value) =
                if settings.batch_size == 0 { ("batch_size", 0) } else { ("max_new_tokens", 0) };
            return Err(Error::config(name, value, "must be at least 1"));
        }
        if !settings.stop_strings.is_empty() && tokenizer.is_none() {
            let value = format!("{:?}", settings.stop_strings);
            return Err(Error::config("stop_strings", value, "the model has no tokenizer to find them with"));
        }
        for (index, prompt) in prompts.iter().enumerate() {
            if prompt.is_empty() {
                return Err(Error::config(format!("prompt {index}"), "[]", "must have at least one token"));
            }
            let room = self.context() - prompt.len() as i64;
            if (settings.max_new_tokens as i64) > room {
                let reason = format!(
                    "prompt {index} has {} tokens, which leaves room for {} in the context of {}",
                    prompt.len(),
                    room.max(0),
                    self.context(),
                );
                return Err(Error::config("max_new_tokens", settings.max_new_tokens, reason));
            }
        }
        Ok(())
    }

    /// Runs rows until each has ended.
    fn continue_batch<'a>(
        &self,
        prompts: &[Vec<i64>],
        mut rows: Vec<Row<'a>>,
        settings: &Generation,
        step: Option<&mut Step>,
        watch: Watch<'_>,
    ) -> Result<(Ended<'a>, ControlFlow<()>)> {
        let mut new: Vec<Vec<i64>> = rows.iter().map(|row| prompts[row.prompt].clone()).collect();
        let more = settings.max_new_tokens;
        let mut past = match step {
            Some(step) => Past::Rows(new.iter().map(|row| step.room(row.len() + more)).collect(), step),
            None => Past::Padded(self.padded(&new, more as i64)),
        };
        let mut ended = Vec::new();
        loop {
            let logits = match &mut past {
                Past::Rows(keys, step) => {
                    step.advance(keys, &new.iter().map(Vec::as_slice).collect::<Vec<_>>())?
                }
                Past::Padded(cache) => self.advance(&left_padded(&new).0, cache)?,
            };
            let mut streams: Vec<_> = rows.iter_mut().map(|row| &mut row.stream).collect();
            let tokens = settings.sampling.choose(&logits, &mut streams);
            let mut flow = ControlFlow::Continue(());
            let (mut going_on, mut kept) = (Vec::new(), Vec::new());
            new.clear();
            for (i, (mut row, token)) in rows.into_iter().zip(tokens).enumerate() {
                let chosen = NewToken { prompt: row.prompt, token, row: i as i64, logits: &logits };
                flow = if flow.is_break() { flow } else { watch(&chosen) };
                match row.push(token, settings)? {
                    Some(finish) => ended.push((row, finish)),
                    None => {
                        going_on.push(row);
                        kept.push(i as i64);
                        new.push(vec![token]);
                    }
                }
            }
            rows = going_on;
            if flow.is_break() {
                ended.extend(rows.into_iter().map(|row| (row, Finish::Interrupted)));
                return Ok((ended, flow));
            }
            if rows.is_empty() {
                return Ok((ended, flow));
            }
            if (kept.len() as i64) < logits.size()[0] {
                match &mut past {
                    Past::Rows(keys, _) => {
                        let mut row = 0..;
                        keys.retain(|_| kept.contains(&row.next().expect("rows are counted")));
                    }
                    Past::Padded(cache) => {
                        cache.keep(&Tensor::from_slice(&kept).to_device(self.device()));
                    }
                }
            }
        }
    }

    /// An empty cache for rows filled up before their first token, and for `more` tokens each.
    fn padded(&self, prompts: &[Vec<i64>], more: i64) -> KvCache {
        let mask = left_padded(prompts).1;
        let capacity = mask.size()[1] + more;
        KvCache::new(&self.shape().stack, &mask, capacity, self.kind(), self.device())
    }
}

impl Completion {
    fn not_begun() -> Self {
        Self { tokens: Vec::new(), text: String::new(), finish: Finish::Interrupted }
    }
}

/// Keys and values of what is there of a batch.
enum Past<'a> {
    /// Row by row.
    Rows(Vec<RowKeys>, &'a mut Step),
    /// Row beside row.
    Padded(KvCache),
}

/// Rows with why they ended.
type Ended<'a> = Vec<(Row<'a>, Finish)>;

/// One prompt on its way.
struct Row<'a> {
    prompt: usize,
    tokens: Vec<i64>,
    stream: Option<ChaCha8Rng>,
    /// The text so far, where stop strings are looked for.
    text: Option<(TextStream<'a>, String)>,
    /// Where the stop string begins.
    cut: Option<usize>,
}

impl<'a> Row<'a> {
    fn new(prompt: usize, settings: &Generation, tokenizer: Option<&'a Tokenizer>) -> Self {
        let tokenizer = tokenizer.filter(|_| !settings.stop_strings.is_empty());
        Self {
            prompt,
            tokens: Vec::new(),
            stream: settings.sampling.stream(prompt),
            text: tokenizer.map(|tokenizer| (tokenizer.stream(), String::new())),
            cut: None,
        }
    }

    /// Adds `token`; tells whether the row ends with it.
    fn push(&mut self, token: i64, settings: &Generation) -> Result<Option<Finish>> {
        self.tokens.push(token);
        if settings.end_tokens.contains(&token) {
            return Ok(Some(Finish::EndToken));
        }
        if let Some((stream, text)) = &mut self.text {
            text.push_str(&stream.push(token)?);
            self.cut = settings.stop_strings.iter().filter_map(|stop| text.find(stop)).min();
            if self.cut.is_some() {
                return Ok(Some(Finish::StopString));
            }
        }
        Ok((self.tokens.len() == settings.max_new_tokens).then_some(Finish::Length))
    }

    fn complete(self, finish: Finish, tokenizer: Option<&Tokenizer>) -> Result<Completion> {
        let text = match (self.text, self.cut, tokenizer) {
            (Some((_, mut text)), Some(cut), _) => {
                text.truncate(cut);
                text
            }
            (_, _, Some(tokenizer)) => {
                // The tokenizer need not know that the end token is a special one.
                let said = self.tokens.len() - usize::from(finish == Finish::EndToken);
                tokenizer.decode(&self.tokens[..said])?
            }
            (_, _, None) => String::new(),
        };
        Ok(Completion { tokens: self.tokens, text, finish })
    }
}

/// Ids and mask `[B, T]` of rows filled up before their first token.
fn left_padded(rows: &[Vec<i64>]) -> (Tensor, Tensor) {
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut ids = Vec::new();
    let mut mask = Vec::new();
    for row in rows {
        let padding = longest - row.len();
        ids.extend(std::iter::repeat_n(0, padding).chain(row.iter().copied()));
        mask.extend(std::iter::repeat_n(0i64, padding).chain(row.iter().map(|_| 1)));
    }
    let table = |values: &[i64]| Tensor::from_slice(values).view([-1, longest as i64]).to_kind(Kind::Int64);
    (table(&ids), table(&mask))
}
