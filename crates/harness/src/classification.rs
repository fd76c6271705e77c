//! A classifier as the loop sees it: a class or a value for each row, or pairs of rows of which one is preferred.

use models::{Activations, Classifier, Rows};
use peft_core::{Adaptable, Mode, Part as ModelPart};
use tch::{Kind, Tensor};

use crate::Result;
use crate::train::Learner;

/// Tokens of some rows.
#[derive(Debug)]
pub struct Tokens {
    /// Token ids `[B, T]`.
    pub ids: Tensor,
    /// 1 at tokens, 0 at padding, `[B, T]`.
    pub mask: Tensor,
    /// Types of tokens `[B, T]`, where the model tells sentences apart.
    pub types: Option<Tensor>,
}

impl Tokens {
    /// As the model takes them.
    pub fn rows(&self) -> Rows<'_> {
        Rows { ids: &self.ids, mask: Some(&self.mask), types: self.types.as_ref() }
    }
}

/// Rows and their labels.
#[derive(Debug)]
pub struct Labelled {
    /// The rows.
    pub tokens: Tokens,
    /// A class or a value for each, `[B]`.
    pub labels: Tensor,
    /// What the sum of the rows' losses is divided by.
    pub divisor: f64,
}

/// A classifier that is trained on labels.
#[derive(Debug)]
pub struct RowClassifier(pub Classifier);

impl Learner for RowClassifier {
    type Part = Labelled;

    fn loss(&self, part: &Labelled, mode: Mode) -> Result<Tensor> {
        let logits = self.0.logits(part.tokens.rows(), mode, Activations::Keep)?;
        Ok(self.0.loss(&logits, &part.labels)? / part.divisor)
    }
}

impl Adaptable for RowClassifier {
    fn parts(&mut self) -> Vec<ModelPart<'_>> {
        self.0.parts()
    }
}

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
