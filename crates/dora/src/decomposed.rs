use autograd::Function;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use peft_core::low_rank::Dropout;
use peft_core::{Adapter, Base, Delta, Mode, Params, Place, Result, Role, linalg};

use crate::MagnitudeOf;
use crate::fused::DecomposedLinear;
use crate::norm::{row_scale, row_squares};

/// Whether the norm of the direction takes part in differentiation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormGradient {
    /// n is a constant (paper section 4.3): `∂L/∂V = diag(m/n)·∂L/∂W_eff`.
    #[default]
    Detached,
    /// n is differentiated: `∂L/∂V_o = (m_o/n_o)·(I - v̂v̂ᵀ)·∂L/∂W_eff,o` with v̂ = V_o/n_o.
    Full,
}

/// `W_eff = diag(m/n)·V`, `V = W + ΔW`, n the row norms of V: a magnitude for each output over the direction that any
/// factored delta gives.
///
/// Source: DoRA (arXiv 2402.09353) section 4.
#[derive(Debug)]
pub struct Decomposed<D> {
    delta: D,
    magnitude: Tensor,
    squares: Tensor,
    gradient: NormGradient,
    dropout: Option<Dropout>,
}

impl<D: Delta> Decomposed<D> {
    /// Over `weight [out, in]` with `magnitude [out]`. Dropout, if any, must be given here and not in `delta`: the base
    /// term of the decomposition sees the dropped input too.
    ///
    /// # Panics
    /// If `delta` has no factors.
    pub fn new(delta: D, magnitude: Tensor, weight: &Tensor, gradient: NormGradient) -> Self {
        assert!(delta.factors().is_some(), "the norms of a decomposition are computed from factors");
        Self { delta, magnitude, squares: row_squares(weight), gradient, dropout: None }
    }

    /// Over the weight of `place` as it will be stored, with a trainable `lora_magnitude_vector [out]` that starts from
    /// the row norms of the weight that `magnitude` names.
    ///
    /// # Errors
    /// If the site has such a tensor already.
    pub fn attach(
        delta: D,
        place: Place<'_>,
        params: &mut Params<'_>,
        magnitude: MagnitudeOf,
        gradient: NormGradient,
    ) -> Result<Self> {
        let stored = (place.store)(place.weight);
        let norms = Self::magnitude_of(match magnitude {
            MagnitudeOf::Stored => &stored,
            MagnitudeOf::Original => place.weight,
        });
        let m = params.trainable("lora_magnitude_vector", Role::Magnitude, &norms)?;
        Ok(Self::new(delta, m.tensor(), &stored, gradient))
    }

    /// With dropout on the input of the branch, in training.
    #[must_use]
    pub fn with_dropout(self, dropout: Option<Dropout>) -> Self {
        Self { dropout, ..self }
    }

    /// The magnitude `[out]` at which `W_eff` is `weight`: its row norms.
    pub fn magnitude_of(weight: &Tensor) -> Tensor {
        row_squares(weight).sqrt()
    }

    fn decomposed(&self, x: &Tensor, base: Base<'_>) -> Tensor {
        let (b, a) = self.delta.factors().expect("checked when made");
        DecomposedLinear { base, squares: &self.squares, gradient: self.gradient }
            .apply1(&[x, &a, &b, &self.magnitude])
            .expect("the fused linear returns a fresh tensor")
    }
}

impl<D: Delta> Adapter for Decomposed<D> {
    fn effective_weight(&self, frozen: &Tensor) -> Tensor {
        let delta = self.delta.weight();
        let v = frozen.to_kind(delta.kind()) + delta;
        let n = match self.gradient {
            NormGradient::Detached => linalg::row_norms(&v.detach()),
            NormGradient::Full => linalg::row_norms(&v),
        };
        let scale = row_scale(&self.magnitude, &n.to_kind(v.kind()));
        v * scale.unsqueeze(1)
    }

    /// `(m/n)∘(x·Wᵀ + (x·Aᵀ)·Bᵀ) + b`; with dropout `x·Wᵀ + (m/n - 1)∘(x̃·Wᵀ) + (m/n)∘((x̃·Aᵀ)·Bᵀ) + b`, x̃ the dropped
    /// input, which is the base layer at x - x̃ and the decomposed one at x̃.
    fn forward(&self, x: &Tensor, base: Base<'_>, mode: Mode) -> Tensor {
        match (self.dropout, mode) {
            (Some(dropout), Mode::Train { seed }) => {
                let dropped = x * dropout.mask(x, seed);
                let direction = self.decomposed(&dropped, Base { bias: None, ..base });
                base.linear(&(x - dropped)) + direction
            }
            _ => self.decomposed(x, base),
        }
    }
}
