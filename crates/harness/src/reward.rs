//! A reward model as the loop sees it: pairs of rows of which one is preferred.

use models::{Activations, Classifier};
use peft_core::{Adaptable, Mode, Part as ModelPart};
use tch::{Kind, Tensor};

use crate::Result;
use crate::part::Tokens;
use crate::train::Learner;

/// Pairs of rows: of each the first is preferred.
#[derive(Debug)]
pub struct Pairs {
    /// The preferred rows.
    pub chosen: Tokens,
    /// The others.
    pub rejected: Tokens,
    /// What the sum of the pairs' losses is divided by.
    pub divisor: f64,
}

/// A model of one score for each row that is trained on preferences: `−log σ(s(chosen) − s(rejected))` (Bradley and Terry;
/// Ouyang et al., arXiv 2203.02155, equation 1).
#[derive(Debug)]
pub struct RewardModel(pub Classifier);

impl RewardModel {
    /// Scores `[B]` of rows.
    ///
    /// # Errors
    /// If the rows do not fit the model.
    pub fn scores(&self, tokens: &Tokens, mode: Mode) -> Result<Tensor> {
        Ok(self.0.logits(tokens.rows(), mode, Activations::Keep)?.squeeze_dim(1))
    }
}

impl Learner for RewardModel {
    type Part = Pairs;

    fn loss(&self, part: &Pairs, mode: Mode) -> Result<Tensor> {
        let margin = self.scores(&part.chosen, mode)? - self.scores(&part.rejected, mode)?;
        Ok(-margin.to_kind(Kind::Float).log_sigmoid().sum(None) / part.divisor)
    }
}

impl Adaptable for RewardModel {
    fn parts(&mut self) -> Vec<ModelPart<'_>> {
        self.0.parts()
    }
}
