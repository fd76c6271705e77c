//! Which singular directions of W the update is about.

use rand::seq::index;
use tch::{Device, Kind, Tensor};

use peft_core::linalg::{self, Svd};
use peft_core::{Error, Result, Seeds};

use crate::Choice;

/// The directions chosen at one site.
#[derive(Debug)]
pub struct Directions {
    /// `U [out, s]`.
    pub u: Tensor,
    /// `V [s, in]`.
    pub v: Tensor,
    /// Their positions in the order of descending σ, `[s]` of kind Int64; by descending rate where rates decide.
    pub chosen: Tensor,
    /// δ of all directions, `[min(in, out)]`.
    pub rates: Tensor,
}

/// `δ_i = |u_iᵀ·ΔW·v_i| / (σ_i + ε)`, `[min(in, out)]`, for `ΔW = B·A` with the scaling in B.
///
/// ΔW is never formed: `u_iᵀ·B·A·v_i = Σ_k (Uᵀ·B)_ik·(A·V)_ki`, in 2·r·min(in, out)·(in + out) operations.
///
/// Source: LoRA-Dash (arXiv 2409.01035) equation 8; the absolute value is the reference code's, ε the paper's.
pub fn change_rates(svd: &Svd, b: &Tensor, a: &Tensor, epsilon: f64) -> Tensor {
    let left = svd.u.tr().matmul(b); // [k, r]
    let right = svd.vt.matmul(&a.tr()); // [k, r]
    (left * right).sum_dim_intlist(1, false, None).abs() / (&svd.s + epsilon)
}

impl Directions {
    /// Chooses `count` singular directions of `weight [out, in]`, changed so far by `B·A`.
    ///
    /// # Errors
    /// [`Error::Config`] if rates decide and all are 0, or if the decomposition fails.
    pub fn choose(
        weight: &Tensor,
        (b, a): (&Tensor, &Tensor),
        epsilon: f64,
        count: i64,
        choice: Choice,
        seeds: &Seeds,
    ) -> Result<Self> {
        let svd = linalg::svd(&weight.to_kind(Kind::Float))?;
        let rates = change_rates(&svd, b, a, epsilon);
        let chosen = match choice {
            Choice::TaskSpecific if rates.max().double_value(&[]) == 0.0 => {
                let reason = "the update is still zero and tells no direction from another; launch later";
                return Err(Error::config("launch", 0, reason));
            }
            Choice::TaskSpecific => rates.topk(count, 0, true, true).1,
            Choice::Top => Tensor::arange(count, (Kind::Int64, Device::Cpu)),
            Choice::Bottom => Tensor::arange_start(svd.len() - count, svd.len(), (Kind::Int64, Device::Cpu)),
            Choice::Random => {
                let drawn = index::sample(&mut seeds.rng(), svd.len() as usize, count as usize);
                let mut drawn: Vec<i64> = drawn.into_iter().map(|i| i as i64).collect();
                drawn.sort_unstable();
                Tensor::from_slice(&drawn)
            }
        }
        .to_device(weight.device());
        let (u, v) = (svd.u.index_select(1, &chosen), svd.vt.index_select(0, &chosen));
        Ok(Self { u, v, chosen, rates })
    }
}
