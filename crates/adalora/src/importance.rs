use tch::{Kind, Tensor};

use peft_core::{Param, Params, Result, Saved};

/// Moving averages of one tensor: how much the loss depends on each of its entries, and how sure that is.
///
/// I = |p·g|, `Ī ← β₁·Ī + (1-β₁)·I`, `Ū ← β₂·Ū + (1-β₂)·|I - Ī|` with the new Ī; the importance of an entry is Ī·Ū.
///
/// Source: AdaLoRA (arXiv 2303.10512) equations 8 to 11.
#[derive(Debug)]
pub struct Importance {
    sensitivity: Param,
    uncertainty: Param,
}

impl Importance {
    /// Zeros for the tensor called `name`, kept in checkpoints.
    pub fn new(name: &str, like: &Tensor, params: &mut Params<'_>) -> Result<Self> {
        let mut zeros =
            |what: &str| params.buffer(&format!("{name}.{what}"), &like.zeros_like(), Saved::Checkpoint);
        Ok(Self { sensitivity: zeros("sensitivity")?, uncertainty: zeros("uncertainty")? })
    }

    /// Takes in the tensor after a step and the gradient of that step.
    pub fn update(&self, value: &Tensor, gradient: &Tensor, decays: (f64, f64)) {
        let now = (value * gradient).abs();
        let (mut mean, mut spread) = (self.sensitivity.tensor(), self.uncertainty.tensor());
        let _ = mean.lerp_(&now, 1.0 - decays.0);
        let _ = spread.lerp_(&(now - mean).abs_(), 1.0 - decays.1);
    }

    /// Ī·Ū, averaged over `axis`: `[r]`.
    pub fn mean_over(&self, axis: i64) -> Tensor {
        (&*self.sensitivity * &*self.uncertainty).mean_dim(axis, false, Kind::Float)
    }
}
