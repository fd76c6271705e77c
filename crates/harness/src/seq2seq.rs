//! An encoder-decoder as the loop sees it: the next token of a target, given a source.

use models::Seq2Seq;
use peft_core::{Adaptable, Mode, Part as ModelPart};
use tch::Tensor;

use crate::Result;
use crate::classification::Tokens;
use crate::train::Learner;

/// A model that is trained to write targets.
#[derive(Debug)]
pub struct Translator(pub Seq2Seq);

/// Sources and their targets.
#[derive(Debug)]
pub struct Pair {
    /// The sources.
    pub source: Tokens,
    /// What the decoder sees `[B, T]`: the target after its start token.
    pub target: Tensor,
    /// The target `[B, T]`, -100 where nothing is scored; `labels[t]` follows `target[t]`.
    pub labels: Tensor,
    /// What the sum of token losses is divided by.
    pub divisor: f64,
}

impl Learner for Translator {
    type Part = Pair;

    fn loss(&self, part: &Pair, mode: Mode) -> Result<Tensor> {
        let source = self.0.encode(part.source.rows(), mode)?;
        let hidden = self.0.hidden(&source, &part.target, mode)?;
        Ok(self.0.loss(&hidden, &part.labels, mode)?.sum / part.divisor)
    }
}

impl Adaptable for Translator {
    fn parts(&mut self) -> Vec<ModelPart<'_>> {
        self.0.parts()
    }
}
