use rand::Rng;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::{Dropout, LowRank};
use crate::{Params, Result, Role, Site, init};

/// Distribution of A before training, for methods whose B starts at zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// U(-1/√in, 1/√in): the reference code's and PEFT's default.
    #[default]
    KaimingUniform,
    /// N(0, 1/r²): PEFT's `gaussian`; the paper speaks of a Gaussian.
    Gaussian,
}

impl Init {
    /// `A [r, in]`, kind Float.
    pub fn draw(self, rank: i64, in_features: i64, rng: &mut impl Rng, device: Device) -> Tensor {
        match self {
            Self::KaimingUniform => init::kaiming_uniform_sqrt5(&[rank, in_features], rng, device),
            Self::Gaussian => init::normal(&[rank, in_features], 1.0 / rank as f32, rng, device),
        }
    }
}

/// The start of LoRA: A drawn, `B = 0`, both trainable.
#[derive(Clone, Copy, Debug)]
pub struct ZeroStart {
    /// r.
    pub rank: i64,
    /// s.
    pub scaling: f64,
    /// Distribution of A.
    pub init: Init,
    /// Probability of zeroing an entry of the branch's input while training, in [0, 1).
    pub dropout: f64,
}

impl ZeroStart {
    /// Registers `lora_A.weight [r, in]` and `lora_B.weight [out, r]` of `site`.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for a dropout outside [0, 1).
    pub fn attach(self, site: &Site, params: &mut Params<'_>) -> Result<LowRank> {
        let mut rng = params.rng("lora_A.weight");
        let drawn = self.init.draw(self.rank, site.shape.in_features, &mut rng, params.device());
        let a = params.trainable("lora_A.weight", Role::Down, &drawn)?;
        let zeros = Tensor::zeros([site.shape.out_features, self.rank], (Kind::Float, params.device()));
        let b = params.trainable("lora_B.weight", Role::Up, &zeros)?;
        let dropout = Dropout::new(self.dropout, params.seeds())?;
        Ok(LowRank { dropout, ..LowRank::new(a.tensor(), b.tensor(), self.scaling) })
    }
}
