use rand::Rng;
use rand::seq::index;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::Factors;
use crate::linalg::{self, Randomized, Svd};
use crate::{Error, Result};

/// Which r of the min(in, out) singular triplets of W.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Components {
    /// The largest (PiSSA).
    Principal,
    /// The smallest of the reduced decomposition, never the null space (MiLoRA).
    Minor,
    /// Those in the middle.
    Middle,
    /// A random choice.
    Random,
}

impl Components {
    /// Positions in descending order of singular values, ascending.
    fn positions(self, rank: i64, all: i64, rng: &mut impl Rng) -> Vec<i64> {
        let from = |start: i64| (start..start + rank).collect();
        match self {
            Self::Principal => from(0),
            Self::Minor => from(all - rank),
            Self::Middle => from((all - rank) / 2),
            Self::Random => {
                let mut chosen: Vec<i64> =
                    index::sample(rng, all as usize, rank as usize).into_iter().map(|i| i as i64).collect();
                chosen.sort_unstable();
                chosen
            }
        }
    }
}

/// How singular triplets are found.
#[derive(Clone, Copy, Debug)]
pub enum Decomposition {
    /// The reduced decomposition, all of it.
    Full,
    /// Eigenvectors of the smaller Gram matrix in double precision: one side's vectors, and W projected on them. Exact
    /// as a part of W whatever the rounding; σ below 1e-8·σ₁ are noise.
    Gram,
    /// Only for [`Components::Principal`].
    Randomized(Randomized),
}

/// B₀ `[out, r]` and A₀ `[r, in]` with `s·B₀·A₀ = Σ σᵢ·uᵢ·vᵢᵀ` over the chosen triplets of `weight [out, in]`, singular
/// values divided by s and split by square roots: `B₀ᵀB₀ = A₀A₀ᵀ = diag(σ/s)`. Kind Float.
///
/// Source: PiSSA (arXiv 2404.02948) section 3; MiLoRA (arXiv 2406.09044) section 3.
///
/// # Errors
/// If a factorization fails (a weight with NaN or infinite entries); [`Error::Unsupported`] for randomized components
/// other than the principal ones.
pub fn split(
    weight: &Tensor,
    rank: i64,
    scaling: f64,
    components: Components,
    decomposition: Decomposition,
    rng: &mut impl Rng,
) -> Result<Factors> {
    let weight = weight.to_kind(Kind::Float);
    let size = weight.size();
    let positions = components.positions(rank, size[0].min(size[1]), rng);
    match decomposition {
        Decomposition::Full => {
            let all = linalg::svd(&weight)?;
            let chosen = Tensor::from_slice(&positions).to_device(weight.device());
            let of = |t: &Tensor, axis| t.index_select(axis, &chosen);
            Ok(balanced(&Svd { u: of(&all.u, 1), s: of(&all.s, 0), vt: of(&all.vt, 0) }, scaling))
        }
        Decomposition::Randomized(settings) if components == Components::Principal => {
            let top = linalg::randomized_svd(&weight, rank, settings, rng)?;
            Ok(balanced(&top, scaling))
        }
        Decomposition::Randomized(_) => Err(Error::Unsupported {
            what: "a randomized decomposition".to_owned(),
            reason: "it finds the principal components only".to_owned(),
        }),
        Decomposition::Gram => projected(&weight, &positions, scaling),
    }
}

/// `B = U·diag(√(σ/s))`, `A = diag(√(σ/s))·Vᵀ`.
pub fn balanced(triplets: &Svd, scaling: f64) -> Factors {
    let root = (&triplets.s / scaling).sqrt();
    Factors { b: &triplets.u * &root, a: root.unsqueeze(1) * &triplets.vt }
}

/// Projects `W` on the eigenvectors of `W·Wᵀ` (or `Wᵀ·W` where that is smaller) at `positions`.
fn projected(weight: &Tensor, positions: &[i64], scaling: f64) -> Result<Factors> {
    let size = weight.size();
    let transposed = size[0] > size[1];
    let wide = weight.to_kind(Kind::Double);
    let wide = if transposed { wide.tr() } else { wide };
    let all = wide.size()[0];
    // Eigenvalues ascend, positions count from the largest singular value.
    let ascending: Vec<i64> = positions.iter().map(|position| all - 1 - position).collect();
    let chosen = Tensor::from_slice(&ascending).to_device(weight.device());
    let (_, vectors) = tch::no_grad(|| wide.matmul(&wide.tr()).f_linalg_eigh("L"))?;
    let vectors = vectors.index_select(1, &chosen); // [min, r]
    let image = vectors.tr().matmul(&wide); // rows σᵢ·vᵢᵀ, [r, max]
    let s = linalg::row_norms(&image);

    // √(σ/s), floored so that a component that vanishes is not 0/0.
    let root = (&s / scaling).sqrt().clamp_min(f64::EPSILON.sqrt());
    let near = (vectors * &root).to_kind(Kind::Float);
    let far = (image / (root * scaling).unsqueeze(1)).to_kind(Kind::Float);
    Ok(if transposed { Factors { b: far.tr(), a: near.tr() } } else { Factors { b: near, a: far } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Seeds, init};
    use tch::Device;

    const RANK: i64 = 5;
    const SCALING: f64 = 2.0;

    fn matrix(out: i64, inp: i64) -> Tensor {
        init::normal(&[out, inp], 1.0, &mut Seeds::new(7).rng(), Device::Cpu)
    }

    fn product(weight: &Tensor, components: Components, decomposition: Decomposition) -> (Factors, Tensor) {
        let mut rng = Seeds::new(1).rng();
        let factors = split(weight, RANK, SCALING, components, decomposition, &mut rng).unwrap();
        let product = factors.b.matmul(&factors.a) * SCALING;
        (factors, product)
    }

    fn distance(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    /// Rounding of an f32 decomposition of a matrix of norm ~12.
    const ROUNDING: f64 = 2e-5;

    #[test]
    fn every_choice_has_the_singular_values_of_its_positions() {
        for (out, inp) in [(20, 30), (30, 20)] {
            let weight = matrix(out, inp);
            let s = Vec::<f32>::try_from(linalg::svd(&weight).unwrap().s).unwrap();
            for (components, start) in
                [(Components::Principal, 0), (Components::Minor, 15), (Components::Middle, 7)]
            {
                for decomposition in [Decomposition::Full, Decomposition::Gram] {
                    let (factors, product) = product(&weight, components, decomposition);
                    for (i, expected) in s[start..start + 5].iter().enumerate() {
                        let gram = |t: Tensor| t.double_value(&[i as i64, i as i64]) * SCALING;
                        let (b, a) = (factors.b.tr().matmul(&factors.b), factors.a.matmul(&factors.a.tr()));
                        assert!((gram(b) - f64::from(*expected)).abs() < ROUNDING);
                        assert!((gram(a) - f64::from(*expected)).abs() < ROUNDING);
                    }
                    // What is left has the other singular values, and r zeros.
                    let mut left: Vec<f32> = s.clone();
                    left.drain(start..start + 5);
                    left.extend([0.0; 5]);
                    let residual = linalg::svd(&(&weight - product)).unwrap().s;
                    assert!(distance(&residual, &Tensor::from_slice(&left)) < ROUNDING);
                }
            }
        }
    }

    #[test]
    fn both_routes_choose_the_same_random_components() {
        let weight = matrix(20, 30);
        let (_, full) = product(&weight, Components::Random, Decomposition::Full);
        let (_, gram) = product(&weight, Components::Random, Decomposition::Gram);
        assert!(distance(&full, &gram) < ROUNDING);
        let (_, top) = product(&weight, Components::Principal, Decomposition::Full);
        assert!(distance(&full, &top) > 0.1, "another choice than the principal one");
    }

    #[test]
    fn components_that_vanish_do_no_harm() {
        let low = matrix(20, 4).matmul(&matrix(4, 30));
        let (factors, product) = product(&low, Components::Minor, Decomposition::Gram);
        for t in [&factors.a, &factors.b, &product] {
            assert!(bool::try_from(t.isfinite().all()).unwrap());
        }
        assert!(product.abs().max().double_value(&[]) < ROUNDING);
    }

    #[test]
    fn randomized_comes_close_and_never_beats_the_full_one() {
        let weight = matrix(60, 40);
        let error = |decomposition| {
            let (_, product) = product(&weight, Components::Principal, decomposition);
            (&weight - product).norm().double_value(&[])
        };
        let full = error(Decomposition::Full);
        let by_iterations = [0, 1, 4, 64]
            .map(|iterations| error(Decomposition::Randomized(Randomized { iterations, oversample: 0 })));
        assert!(by_iterations.windows(2).all(|pair| pair[1] <= pair[0] + ROUNDING), "{by_iterations:?}");
        assert!(by_iterations.iter().all(|&error| error >= full - ROUNDING), "{by_iterations:?} {full}");
        assert!(by_iterations[3] < full + 1e-3 * (by_iterations[0] - full), "{by_iterations:?} {full}");
        let mut rng = Seeds::new(1).rng();
        let fast = Decomposition::Randomized(Randomized::default());
        assert!(split(&weight, RANK, 1.0, Components::Minor, fast, &mut rng).is_err());
    }
}
