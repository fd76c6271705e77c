//! Splitting a weight between factors and a storage that loses something: which of the two goes first.
//!
//! | | round | at the end |
//! |---|---|---|
//! | factors first (QPiSSA) | B·A := top r of W - Q, Q := store(W - s·B·A) | W ≈ Q + s·B·A |
//! | storage first (LoftQ) | Q := store(W - s·B·A), B·A := top r of W - Q | the same |
//!
//! Both start from `B·A = 0`, `Q = 0`. QPiSSA takes the principal part of W out before anything is rounded, LoftQ repairs
//! what rounding lost.
//!
//! Source: PiSSA (arXiv 2404.02948) algorithm 1 and its `init_qpissa.py`; LoftQ (arXiv 2310.08659) algorithm 1 and PEFT's
//! `loftq_utils.py`.

use tch::{Kind, Tensor};

use super::{Factors, lack};
use crate::Result;

/// Where weights are kept: `Q = store(·)`.
pub type Store<'a> = &'a dyn Fn(&Tensor) -> Tensor;

/// What finds the factors of a matrix.
pub type Factorize<'a> = &'a mut dyn FnMut(&Tensor) -> Result<Factors>;

/// The factors of QPiSSA after `rounds` ≥ 1; what is stored beside them is `store(W - s·B·A)`.
///
/// # Errors
/// What `factors` returns.
pub fn factors_first(
    weight: &Tensor,
    store: Store<'_>,
    scaling: f64,
    rounds: u32,
    factors: Factorize<'_>,
) -> Result<Factors> {
    let mut found = factors(weight)?;
    for _ in 1..rounds {
        let stored = store(&lack(weight, &found.b, &found.a, scaling));
        found = factors(&lost(weight, &stored))?;
    }
    Ok(found)
}

/// Q and the factors of LoftQ after `rounds` ≥ 1.
///
/// # Errors
/// What `factors` returns.
pub fn storage_first(
    weight: &Tensor,
    store: Store<'_>,
    scaling: f64,
    rounds: u32,
    factors: Factorize<'_>,
) -> Result<(Tensor, Factors)> {
    let mut stored = store(weight);
    let mut found = factors(&lost(weight, &stored))?;
    for _ in 1..rounds {
        stored = store(&lack(weight, &found.b, &found.a, scaling));
        found = factors(&lost(weight, &stored))?;
    }
    Ok((stored, found))
}

fn lost(weight: &Tensor, stored: &Tensor) -> Tensor {
    weight.to_kind(Kind::Float) - stored.to_kind(Kind::Float)
}
