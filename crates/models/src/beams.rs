//! Beam search.
//!
//! Of every prompt the K likeliest continuations that have not ended are kept; one that ends among the K best candidates
//! of a step is a hypothesis with the score `log p / nᵅ` for n new tokens and the length penalty α. A prompt is done when K
//! hypotheses are there and, as [`Stop`] judges, no better one can come. The same choices as in transformers 5.

use std::ops::ControlFlow;

use peft_core::{Error, Result};
use tch::{Device, Kind, Tensor};

/// Settings of the search.
#[derive(Clone, Debug, PartialEq)]
pub struct BeamSearch {
    /// Continuations that are followed at a time, K.
    pub beams: usize,
    /// α; above 0 prefers long hypotheses, below 0 short ones.
    pub length_penalty: f64,
    /// When a prompt is done.
    pub stop: Stop,
    /// A hypothesis ends after as many tokens in any case.
    pub max_new_tokens: usize,
    /// A hypothesis ends with any of these tokens.
    pub end_tokens: Vec<i64>,
    /// The last token that `max_new_tokens` leaves room for is this one (BART's `forced_eos_token_id`).
    pub forced_last: Option<i64>,
    /// The first token is this one (`forced_bos_token_id`).
    pub forced_first: Option<i64>,
}

/// When a prompt with K hypotheses is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// When the best continuation, if it ended now, would not be better than the worst hypothesis
    /// (`early_stopping = False`).
    #[default]
    Unlikely,
    /// At once (`early_stopping = True`).
    Full,
    /// When no continuation could ever become better (`early_stopping = "never"`).
    Impossible,
}

/// A continuation that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// New tokens, with the end token if there is one.
    pub tokens: Vec<i64>,
    /// `log p / nᵅ`.
    pub score: f64,
}

/// How a step made the beams at hand from those before.
pub(crate) struct Grown {
    /// For each, the row of the batch it continues.
    pub(crate) parents: Tensor,
    /// Its new token.
    pub(crate) tokens: Tensor,
}

/// The beams of one prompt.
struct Prompt {
    index: usize,
    running: Vec<Hypothesis>,
    ended: Vec<Hypothesis>,
}

/// A candidate of a step.
struct Candidate {
    beam: usize,
    token: i64,
    log_p: f64,
}

/// In the place of −∞, as in transformers.
const NEVER: f64 = -1e9;

impl BeamSearch {
    pub(crate) fn check(&self, vocab_size: i64) -> Result<()> {
        if self.beams == 0 || self.max_new_tokens == 0 {
            let (name, value) =
                if self.beams == 0 { ("beams", 0) } else { ("max_new_tokens", self.max_new_tokens) };
            return Err(Error::config(name, value, "must be at least 1"));
        }
        if self.candidates() as i64 > vocab_size {
            let reason = format!("the vocabulary has only {vocab_size} tokens");
            return Err(Error::config("beams", self.beams, reason));
        }
        Ok(())
    }

    /// Enough that K of them have not ended.
    fn candidates(&self) -> usize {
        (1 + self.end_tokens.len()).max(2) * self.beams
    }

    /// Searches for `prompts` prompts; `advance` gives the logits `[rows, V]` after the tokens of each beam, at first K equal
    /// rows for each prompt.
    pub(crate) fn search(
        &self,
        prompts: usize,
        advance: &mut dyn FnMut(Option<Grown>) -> Result<Tensor>,
    ) -> Result<Vec<Vec<Hypothesis>>> {
        let mut all: Vec<Vec<Hypothesis>> = (0..prompts).map(|_| Vec::new()).collect();
        let mut open: Vec<Prompt> = (0..prompts).map(|index| Prompt::new(index, self.beams)).collect();
        let mut grown = None;
        for length in 1..=self.max_new_tokens {
            let logits = advance(grown.take())?;
            let (mut parents, mut tokens) = (Vec::new(), Vec::new());
            let before = std::mem::take(&mut open);
            for (place, mut prompt) in before.into_iter().enumerate() {
                let rows = logits.narrow(0, (place * self.beams) as i64, self.beams as i64);
                let candidates = self.best(&prompt, &rows, length);
                let beams = prompt.grow(&candidates, self, length);
                if self.is_done(&prompt, length).is_break() {
                    all[prompt.index] = prompt.ended;
                    continue;
                }
                parents.extend(beams.iter().map(|beam| (place * self.beams + beam) as i64));
                tokens.extend(prompt.running.iter().map(|beam| beam.tokens[length - 1]));
                open.push(prompt);
            }
            if open.is_empty() {
                break;
            }
            grown =
                Some(Grown { parents: Tensor::from_slice(&parents), tokens: Tensor::from_slice(&tokens) });
        }
        Ok(all)
    }

    /// The best candidates of a prompt from the logits `[K, V]` of its beams, the best first.
    fn best(&self, prompt: &Prompt, logits: &Tensor, length: usize) -> Vec<Candidate> {
        let vocab_size = logits.size()[1];
        let forced = match (self.forced_first, self.forced_last) {
            (Some(first), _) if length == 1 => Some(first),
            (_, last) if length == self.max_new_tokens => last,
            _ => None,
        };
        let log_p = match forced {
            Some(token) => {
                let log_p = logits.to_kind(Kind::Float).full_like(f64::NEG_INFINITY);
                let _ = log_p.select(1, token).fill_(0.0);
                log_p
            }
            None => logits.log_softmax(-1, Kind::Float),
        };
        let scores: Vec<f32> = prompt.running.iter().map(|beam| beam.score as f32).collect();
        let scores = Tensor::from_slice(&scores).to_device(log_p.device()).unsqueeze(1);
        let (values, places) = (log_p + scores).view(-1).topk(self.candidates() as i64, 0, true, true);
        let values = Vec::<f32>::try_from(values.to_device(Device::Cpu)).expect("a vector of Float");
        let places = Vec::<i64>::try_from(places.to_device(Device::Cpu)).expect("a vector of Int64");
        let candidate = |(value, place): (f32, i64)| Candidate {
            beam: (place / vocab_size) as usize,
            token: place % vocab_size,
            log_p: f64::from(value),
        };
        values.into_iter().zip(places).map(candidate).collect()
    }

    /// Whether nothing more can come of `prompt`, whose beams have `length` tokens.
    fn is_done(&self, prompt: &Prompt, length: usize) -> ControlFlow<()> {
        let full = prompt.ended.len() == self.beams;
        let longest = match self.stop {
            Stop::Impossible if self.length_penalty > 0.0 => self.max_new_tokens,
            _ => length,
        };
        let best = prompt.running.first().map_or(NEVER, |beam| self.score(beam.score, longest));
        let worst = prompt.ended.last().map_or(NEVER, |hypothesis| hypothesis.score);
        let hopeless = full && (self.stop == Stop::Full || best <= worst);
        if hopeless || length == self.max_new_tokens {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn score(&self, log_p: f64, length: usize) -> f64 {
        log_p / (length as f64).powf(self.length_penalty)
    }
}

impl Prompt {
    /// Equal beams, of which the first alone counts.
    fn new(index: usize, beams: usize) -> Self {
        let beam = |i| Hypothesis { tokens: Vec::new(), score: if i == 0 { 0.0 } else { NEVER } };
        Self { index, running: (0..beams).map(beam).collect(), ended: Vec::new() }
    }

    /// Takes up `candidates` of `length` tokens; returns the beams that the new ones continue.
    fn grow(&mut self, candidates: &[Candidate], settings: &BeamSearch, length: usize) -> Vec<usize> {
        let ends =
            |c: &Candidate| settings.end_tokens.contains(&c.token) || length == settings.max_new_tokens;
        let tokens = |c: &Candidate| {
            let mut tokens = self.running[c.beam].tokens.clone();
            tokens.push(c.token);
            tokens
        };
        let ended = candidates.iter().take(settings.beams).filter(|c| ends(c));
        let ended: Vec<Hypothesis> =
            ended.map(|c| Hypothesis { tokens: tokens(c), score: settings.score(c.log_p, length) }).collect();
        let kept: Vec<&Candidate> = candidates.iter().filter(|c| !ends(c)).take(settings.beams).collect();
        let running = kept.iter().map(|c| Hypothesis { tokens: tokens(c), score: c.log_p }).collect();
        self.running = running;
        self.ended.extend(ended);
        self.ended.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.ended.truncate(settings.beams);
        kept.iter().map(|c| c.beam).collect()
    }
}
