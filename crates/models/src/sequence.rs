//! What all layers of one pass share: positions and who may attend to whom.

use peft_core::{Error, Result};
use tch::{Kind, Tensor};

use crate::rotary::{Rotary, Rotation};

/// Which keys a query sees.
#[derive(Debug)]
pub(crate) enum Visible {
    /// All of them.
    All,
    /// Those up to its own position.
    Causal,
    /// Those where this `[B, 1, T, keys]` is 0; it is −∞ elsewhere.
    Masked(Tensor),
}

/// Positions and visibility of the tokens `[B, T]` of one pass.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) rotation: Rotation,
    pub(crate) visible: Visible,
}

impl Clone for Sequence {
    fn clone(&self) -> Self {
        let visible = match &self.visible {
            Visible::All => Visible::All,
            Visible::Causal => Visible::Causal,
            Visible::Masked(mask) => Visible::Masked(mask.shallow_clone()),
        };
        Self { rotation: self.rotation.clone(), visible }
    }
}

/// Where the padding of a batch is.
#[derive(Debug, PartialEq)]
pub(crate) enum Padding {
    /// Nowhere, or after the last token of a row: causal attention never lets a token see it.
    After,
    /// Elsewhere.
    Before,
}

impl Padding {
    /// `mask [B, T]`: 1 at tokens, 0 at padding.
    pub(crate) fn of(mask: &Tensor) -> Self {
        let descends =
            mask.narrow(1, 1, mask.size()[1] - 1).le_tensor(&mask.narrow(1, 0, mask.size()[1] - 1));
        if descends.all().int64_value(&[]) == 1 { Self::After } else { Self::Before }
    }
}

impl Sequence {
    /// Whole rows `[B, T]` from their first token, with `mask [B, T]` (1 at tokens) where there is padding.
    ///
    /// Positions count tokens, so a row computes the same wherever its padding is. A padded position sees itself, so
    /// that what it computes is finite.
    ///
    /// # Errors
    /// If the shapes differ or the rows are longer than the context.
    pub(crate) fn whole(size: [i64; 2], mask: Option<&Tensor>, rotary: &Rotary, kind: Kind) -> Result<Self> {
        let [_, length] = size;
        if length > rotary.context() {
            let reason = format!("the model's context is {} tokens", rotary.context());
            return Err(Error::config("tokens in a row", length, reason));
        }
        let Some(mask) = mask else {
            return Ok(Self { rotation: rotary.range(0, length), visible: Visible::Causal });
        };
        if mask.size() != size {
            let reason = format!("the batch has the shape {size:?}");
            return Err(Error::config("attention_mask", format!("{:?}", mask.size()), reason));
        }
        Ok(match Padding::of(mask) {
            Padding::After => Self { rotation: rotary.range(0, length), visible: Visible::Causal },
            Padding::Before => {
                Self { rotation: rotary.at(&positions(mask)), visible: Visible::Masked(additive(mask, kind)) }
            }
        })
    }
}

/// Position of every token in its row, 0 at padding before the first; `[B, T]`.
pub(crate) fn positions(mask: &Tensor) -> Tensor {
    (mask.to_kind(Kind::Int64).cumsum(1, Kind::Int64) - 1).clamp_min(0)
}

/// `[B, 1, T, T]`: 0 where the query may look, −∞ elsewhere.
fn additive(mask: &Tensor, kind: Kind) -> Tensor {
    let (length, device) = (mask.size()[1], mask.device());
    let bools = (Kind::Bool, device);
    let causal = Tensor::ones([length, length], bools).tril(0);
    let own = Tensor::eye(length, bools);
    let seen = mask.to_kind(Kind::Bool).unsqueeze(1).logical_and(&causal).logical_or(&own).unsqueeze(1);
    hidden_where(&seen.logical_not(), kind)
}

/// −∞ where `hidden`, 0 elsewhere.
pub(crate) fn hidden_where(hidden: &Tensor, kind: Kind) -> Tensor {
    Tensor::zeros(hidden.size(), (kind, hidden.device())).masked_fill(hidden, f64::NEG_INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_found() {
        let of = |rows: &[[i64; 4]]| Padding::of(&Tensor::from_slice2(rows));
        assert_eq!(of(&[[1, 1, 1, 1], [1, 1, 0, 0]]), Padding::After);
        assert_eq!(of(&[[1, 1, 1, 1], [0, 1, 1, 1]]), Padding::Before);
        assert_eq!(of(&[[1, 0, 1, 1]]), Padding::Before);
    }

    #[test]
    fn positions_count_tokens() {
        let mask = Tensor::from_slice2(&[[0i64, 0, 1, 1], [1, 1, 1, 0]]);
        assert_eq!(Vec::<i64>::try_from(positions(&mask).view(-1)).unwrap(), [0, 0, 0, 1, 0, 1, 2, 2]);
    }

    #[test]
    fn padding_sees_only_itself() {
        let mask = Tensor::from_slice2(&[[0i64, 1, 1]]);
        let seen = additive(&mask, Kind::Float).isfinite().to_kind(Kind::Int64).view(-1);
        assert_eq!(Vec::<i64>::try_from(seen).unwrap(), [1, 0, 0, 0, 1, 0, 0, 1, 1]);
    }
}
