//! Decompositions that libtorch makes awkward from here, written once.

use rand::Rng;
use tch::{Kind, Tensor};

use crate::{Result, init};

/// `A = U·diag(s)·Vᵀ` with `A [m, n]`, `U [m, k]`, `s [k]` descending, `Vᵀ [k, n]`.
#[derive(Debug)]
pub struct Svd {
    /// Left singular vectors as columns, `[m, k]`.
    pub u: Tensor,
    /// Singular values, descending, `[k]`.
    pub s: Tensor,
    /// Right singular vectors as rows, `[k, n]`.
    pub vt: Tensor,
}

impl Svd {
    /// Triplets `start..start + count`.
    #[must_use]
    pub fn slice(&self, start: i64, count: i64) -> Self {
        Self {
            u: self.u.narrow(1, start, count).contiguous(),
            s: self.s.narrow(0, start, count).contiguous(),
            vt: self.vt.narrow(0, start, count).contiguous(),
        }
    }

    /// Number of triplets k.
    pub fn len(&self) -> i64 {
        self.s.size()[0]
    }

    /// Whether there is no triplet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `U·diag(s)·Vᵀ`, `[m, n]`.
    pub fn product(&self) -> Tensor {
        (&self.u * &self.s).matmul(&self.vt)
    }
}

/// Reduced singular value decomposition, k = min(m, n).
///
/// # Errors
/// If the routine does not converge (a matrix with NaN or infinite entries).
pub fn svd(a: &Tensor) -> Result<Svd> {
    let (u, s, v) = tch::no_grad(|| a.f_svd(true, true))?; // this binding returns V, not Vᵀ
    Ok(Svd { u, s, vt: v.tr() })
}

/// Settings of [`randomized_svd`].
#[derive(Clone, Copy, Debug)]
pub struct Randomized {
    /// Subspace iterations; each multiplies the error of the subspace by (σ_{k+1}/σ_k)².
    pub iterations: u32,
    /// Directions beyond the wanted rank. `torch.svd_lowrank(q = r)` has none.
    pub oversample: i64,
}

impl Default for Randomized {
    fn default() -> Self {
        Self { iterations: 4, oversample: 8 }
    }
}

/// The `rank` leading singular triplets by a QR-orthonormalized subspace iteration
/// (Halko, Martinsson, Tropp 2011, algorithm 4.4 and section 5.1), in O((m + n)·q² + m·n·q), q = rank + oversample.
///
/// # Errors
/// If a factorization fails.
pub fn randomized_svd(a: &Tensor, rank: i64, settings: Randomized, rng: &mut impl Rng) -> Result<Svd> {
    tch::no_grad(|| {
        let size = a.size();
        // The iteration runs on the tall orientation, so that the small factor stays small.
        let transposed = size[0] < size[1];
        let tall = if transposed { a.tr() } else { a.shallow_clone() };
        let shorter = size[0].min(size[1]);
        let q = (rank + settings.oversample).min(shorter);
        let sketch = init::normal(&[shorter, q], 1.0, rng, a.device()).to_kind(a.kind());
        let mut basis = orthonormal(&tall.matmul(&sketch))?;
        for _ in 0..settings.iterations {
            let other = orthonormal(&tall.tr().matmul(&basis))?;
            basis = orthonormal(&tall.matmul(&other))?;
        }
        let small = svd(&basis.tr().matmul(&tall))?.slice(0, rank.min(q));
        let u = basis.matmul(&small.u);
        Ok(if transposed {
            Svd { u: small.vt.tr().contiguous(), s: small.s, vt: u.tr().contiguous() }
        } else {
            Svd { u, ..small }
        })
    })
}

/// Reduced QR: `A = Q·R`, `Q [m, k]` with orthonormal columns, `R [k, n]` upper triangular.
///
/// # Errors
/// If the factorization fails.
pub fn qr(a: &Tensor) -> Result<(Tensor, Tensor)> {
    Ok(tch::no_grad(|| Tensor::f_linalg_qr(a, "reduced"))?)
}

fn orthonormal(a: &Tensor) -> Result<Tensor> {
    Ok(qr(a)?.0)
}

/// Euclidean norms of the rows of `a [m, n]`, accumulated in double precision, `[m]` of kind Double.
pub fn row_norms(a: &Tensor) -> Tensor {
    a.to_kind(Kind::Double).square().sum_dim_intlist(1, false, None).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seeds;
    use ndarray::{Array2, ShapeBuilder};
    use ndarray_linalg::{JobSvd, SVDDC};
    use tch::Device;

    fn matrix(m: i64, n: i64) -> Tensor {
        init::normal(&[m, n], 1.0, &mut Seeds::new(7).rng(), Device::Cpu).to_kind(Kind::Double)
    }

    fn max_difference(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn svd_agrees_with_lapack_through_ndarray() {
        let a = matrix(12, 7);
        let ours = svd(&a).unwrap();
        assert!(max_difference(&ours.product(), &a) < 1e-12);
        let host =
            Array2::from_shape_vec((12, 7).f(), Vec::<f64>::try_from(a.tr().reshape(-1)).unwrap()).unwrap();
        let (_, s, _) = host.svddc(JobSvd::None).unwrap();
        assert!(max_difference(&ours.s, &Tensor::from_slice(s.as_slice().unwrap())) < 1e-12);
    }

    #[test]
    fn randomized_finds_the_leading_triplets_in_both_orientations() {
        // A spectrum with a clear gap after the fifth value: the iteration must find it to rounding.
        for (m, n) in [(60, 40), (40, 60)] {
            let full = svd(&matrix(m, n)).unwrap();
            let s = Tensor::arange(full.len(), (Kind::Double, Device::Cpu)).neg().exp2() * 100.0;
            let s = &s + s.ge(3.0).to_kind(Kind::Double) * 50.0;
            let a = Svd { s: s.shallow_clone(), ..full }.product();
            let top = randomized_svd(&a, 5, Randomized::default(), &mut Seeds::new(1).rng()).unwrap();
            assert_eq!((top.u.size(), top.vt.size()), (vec![m, 5], vec![5, n]));
            assert!(max_difference(&top.s, &s.narrow(0, 0, 5)) < 1e-9);
            let best = svd(&a).unwrap().slice(0, 5).product();
            assert!(max_difference(&top.product(), &best) < 1e-9);
        }
    }

    #[test]
    fn same_seed_same_bits() {
        let a = matrix(30, 20);
        let run = |seed| randomized_svd(&a, 4, Randomized::default(), &mut Seeds::new(seed).rng()).unwrap().s;
        assert_eq!(run(3), run(3));
    }
}
