use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What a trainable tensor is for; decides its optimizer group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Down projection `A [r, in]`.
    Down,
    /// Up projection `B [out, r]`.
    Up,
    /// Diagonal of a factorization (AdaLoRA's E, VeRA's λ, LoRA-Dash's index).
    Diagonal,
    /// DoRA's magnitudes.
    Magnitude,
    /// Values of a sparse matrix.
    Sparse,
    /// Blocks (Bone, Bat) and generators of rotations.
    Block,
    /// A whole weight of a linear layer.
    Weight,
    /// A task head.
    Head,
    /// A bias.
    Bias,
    /// A normalization layer.
    Norm,
    /// An embedding, or factors of one.
    Embedding,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The roles that train in a phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roles {
    /// Every trainable tensor.
    #[default]
    All,
    /// Only these.
    Only(BTreeSet<Role>),
}

impl Roles {
    /// Only `roles`.
    pub fn only(roles: impl IntoIterator<Item = Role>) -> Self {
        Self::Only(roles.into_iter().collect())
    }

    /// Whether `role` trains.
    pub fn contains(&self, role: Role) -> bool {
        match self {
            Self::All => true,
            Self::Only(roles) => roles.contains(&role),
        }
    }
}
