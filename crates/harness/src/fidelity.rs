//! What is lost when an adapted model is held otherwise: merged, cast, in 4 bits, or merged with other adapters.
//!
//! The reference is the adapter in its slot over the base as it was trained over. Every other way to hold the two is compared
//! with it on the same text, and by the same tests.

mod drift;
mod held;

use std::collections::BTreeMap;

use peft_core::{Adaptable, Mode};
use tch::{Kind, Tensor};

use crate::Result;
use crate::solver::CausalLm;

pub use drift::Drift;
pub use held::{Form, Held, load};

/// Text to compare on, and what the reference makes of it.
#[derive(Debug)]
pub struct Reference {
    texts: Vec<Vec<i64>>,
    /// Log-probabilities `[T, V]` of the tokens after each, text by text.
    predictions: Vec<Tensor>,
    /// `W_eff` and `W` of the adapted layers.
    weights: BTreeMap<String, (Tensor, Tensor)>,
}

impl Reference {
    /// The active adapter of `model`, on `texts`.
    ///
    /// # Errors
    /// If a text does not fit.
    pub fn new(model: &mut CausalLm, texts: Vec<Vec<i64>>) -> Result<Self> {
        let predictions = texts.iter().map(|text| predict(model, text)).collect::<Result<_>>()?;
        let weights = tch::no_grad(|| {
            let adapted = model.linears().into_iter().filter(|linear| linear.adapters().next().is_some());
            let both = |linear: &mut peft_core::AdaptedLinear| {
                (linear.name().to_owned(), (linear.effective_weight(), linear.frozen().dense()))
            };
            adapted.map(both).collect()
        });
        Ok(Self { texts, predictions, weights })
    }

    /// How far `model` is from it.
    ///
    /// # Errors
    /// If a text does not fit.
    pub fn drift(&self, model: &mut CausalLm) -> Result<Drift> {
        let mut drift = Drift::default();
        for (text, expected) in self.texts.iter().zip(&self.predictions) {
            drift.add(expected, &predict(model, text)?);
        }
        drift.weights = tch::no_grad(|| self.weights_off(model));
        Ok(drift)
    }

    /// `‖W' − W_eff‖_F / ‖W_eff − W‖_F` over the adapted layers, W' what `model` holds.
    fn weights_off(&self, model: &mut CausalLm) -> f64 {
        let square = |t: Tensor| t.square().sum(Kind::Double).double_value(&[]);
        let double = |t: &Tensor| t.to_kind(Kind::Double);
        let (mut off, mut update) = (0.0, 0.0);
        for linear in model.linears() {
            let Some((effective, frozen)) = self.weights.get(linear.name()) else { continue };
            off += square(double(&linear.effective_weight()) - double(effective));
            update += square(double(effective) - double(frozen));
        }
        if update > 0.0 { (off / update).sqrt() } else { f64::NAN }
    }

    /// Number of tokens that are predicted.
    pub fn tokens(&self) -> usize {
        self.texts.iter().map(Vec::len).sum()
    }
}

/// Logits `[T, V]` in f32.
fn predict(model: &CausalLm, text: &[i64]) -> Result<Tensor> {
    let row = Tensor::from_slice(text).unsqueeze(0).to_device(model.decoder.device());
    tch::no_grad(|| {
        let hidden = model.decoder.hidden(&row, None, Mode::Eval, models::Activations::Keep)?;
        Ok(model.decoder.logits(&hidden, Mode::Eval).squeeze_dim(0).to_kind(Kind::Float))
    })
}
