//! The best approximation of a rank (Eckart and Young): `B = U_r·Σ_r [out, r]`, `A = V_rᵀ [r, in]`.

use peft_core::{Result, linalg};
use tch::Tensor;

/// Of `B·A`, from the factors: `B = Q₁·R₁`, `Aᵀ = Q₂·R₂`, and the SVD of `R₁·R₂ᵀ`, which is as small as the rank.
pub(crate) fn product(b: &Tensor, a: &Tensor, rank: i64) -> Result<(Tensor, Tensor)> {
    let (q1, r1) = Tensor::f_linalg_qr(b, "reduced")?;
    let (q2, r2) = Tensor::f_linalg_qr(&a.tr(), "reduced")?;
    let (left, right) = matrix(&r1.matmul(&r2.tr()), rank)?;
    Ok((q1.matmul(&left), right.matmul(&q2.tr())))
}

/// Of `update [out, in]`.
pub(crate) fn matrix(update: &Tensor, rank: i64) -> Result<(Tensor, Tensor)> {
    let svd = linalg::svd(update)?;
    let svd = svd.slice(0, rank.min(svd.len()));
    Ok((&svd.u * &svd.s, svd.vt))
}
