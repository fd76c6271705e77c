use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use crate::Factors;

/// What an adapter adds to the weight of one module, `ΔW = W_eff − W`.
#[derive(Debug)]
pub enum Update {
    /// A product of two thin matrices.
    LowRank(Factors),
    /// Anything else, `[out, in]`.
    Dense(Tensor),
}

/// The updates of an adapter by module.
pub type Updates = BTreeMap<String, Update>;

impl Update {
    /// ΔW, `[out, in]`.
    pub fn weight(&self) -> Tensor {
        match self {
            Self::LowRank(factors) => factors.update(),
            Self::Dense(update) => update.shallow_clone(),
        }
    }

    /// Factors whose product it is, exactly: of a dense update it and the identity.
    pub fn factors(&self) -> Factors {
        match self {
            Self::LowRank(Factors { b, a, scaling }) => {
                Factors { b: b.shallow_clone(), a: a.shallow_clone(), scaling: *scaling }
            }
            Self::Dense(update) => {
                let inputs = update.size()[1];
                let identity = Tensor::eye(inputs, (Kind::Float, update.device()));
                Factors { b: update.shallow_clone(), a: identity, scaling: 1.0 }
            }
        }
    }

    /// `[out, in]`.
    pub fn size(&self) -> [i64; 2] {
        match self {
            Self::LowRank(factors) => [factors.b.size()[0], factors.a.size()[1]],
            Self::Dense(update) => [update.size()[0], update.size()[1]],
        }
    }
}
