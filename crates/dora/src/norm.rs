//! Row norms of `V = W + B·A` without V.
//!
//! ‖V_o‖² = ‖W_o‖² + 2⟨(W·Aᵀ)_o, B_o⟩ + ⟨(B·A·Aᵀ)_o, B_o⟩ = ‖W_o‖² + ⟨B_o, (W·Aᵀ + V·Aᵀ)_o⟩
//!
//! The first term never changes. The others cost one product of W with r columns, 2·r·in·out operations that read W
//! once, and matrices of size `[out, r]`, where V would be another `[out, in]`.

use tch::{Kind, Tensor};

use peft_core::{FrozenWeight, linalg};

/// The squared row norms of `W [out, in]`, kind Double: the first term, computed once.
pub fn row_squares(weight: &Tensor) -> Tensor {
    linalg::row_norms(weight).square()
}

/// What is computed about `V = W + B·A`.
pub struct Norms {
    /// n `[out]`: row norms of V, in the kind of B.
    pub n: Tensor,
    /// `V·Aᵀ [out, r]`.
    pub image: Tensor,
}

/// Row norms of `W + B·A`; `squares` are those of W.
pub fn norms(weight: &dyn FrozenWeight, squares: &Tensor, b: &Tensor, a: &Tensor) -> Norms {
    let of_weight = times(weight, &a.tr());
    let image = &of_weight + b.mm(&a.mm(&a.tr()));
    let added = (b * (of_weight + &image)).sum_dim_intlist(1, false, Kind::Double);
    // Where B·A cancels W, rounding may leave less than nothing.
    let n = (squares + added).clamp_min(0.0).sqrt().to_kind(b.kind());
    Norms { n, image }
}

/// c = m/n `[out]`, the factor of each row; 1 where n = 0, so that a row of zeros stays one.
pub fn row_scale(m: &Tensor, n: &Tensor) -> Tensor {
    (m / n).where_self(&n.gt(0.0), &n.ones_like())
}

/// Entries of W that are cast at a time where its kind is not that of the factors.
const CAST: i64 = 1 << 22;

/// `W·right [out, k]` in the kind of `right [in, k]`.
fn times(weight: &dyn FrozenWeight, right: &Tensor) -> Tensor {
    match weight.as_dense() {
        Some(dense) if dense.kind() == right.kind() => dense.mm(right),
        Some(dense) => {
            let blocks = dense.split((CAST / dense.size()[1]).max(1), 0);
            let products: Vec<Tensor> = blocks.iter().map(|w| w.to_kind(right.kind()).mm(right)).collect();
            Tensor::cat(&products, 0)
        }
        None => weight.dense().to_kind(right.kind()).mm(right),
    }
}

/// `left·W [k, in]` in the kind of `left [k, out]`.
pub fn times_left(weight: &dyn FrozenWeight, left: &Tensor) -> Tensor {
    match weight.as_dense() {
        Some(dense) if dense.kind() == left.kind() => left.mm(dense),
        Some(dense) => {
            let step = (CAST / dense.size()[1]).max(1);
            let blocks = dense.split(step, 0).into_iter().zip(left.split(step, 1));
            blocks
                .map(|(w, left)| left.mm(&w.to_kind(left.kind())))
                .reduce(|sum, part| sum + part)
                .expect("a weight has rows")
        }
        None => left.mm(&weight.dense().to_kind(left.kind())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peft_core::{Dense, Seeds, init};
    use tch::Device;

    fn draw(name: &str, size: [i64; 2]) -> Tensor {
        init::normal(&size, 1.0, &mut Seeds::new(0).child(name).rng(), Device::Cpu).to_kind(Kind::Double)
    }

    #[test]
    fn cheap_norms_are_the_norms_of_the_sum() {
        let (weight, b, a) = (draw("w", [7, 9]), draw("b", [7, 3]), draw("a", [3, 9]));
        let v = &weight + b.mm(&a);
        let norms = norms(&Dense::new(&weight), &row_squares(&weight), &b, &a);
        let distance = |x: Tensor, y: Tensor| (x - y).abs().max().double_value(&[]);
        assert!(distance(norms.n, linalg::row_norms(&v)) < 1e-13);
        assert!(distance(norms.image, v.mm(&a.tr())) < 1e-13);
    }

    #[test]
    fn a_sum_that_cancels_has_a_norm_of_nothing_but_rounding() {
        let (b, a) = (draw("b", [7, 3]), draw("a", [3, 9]));
        let weight = -b.mm(&a);
        let norms = norms(&Dense::new(&weight), &row_squares(&weight), &b, &a);
        // The square of the norm has an error of about ε·‖W‖² with ‖W‖² near 30, the norm its root.
        assert!(norms.n.max().double_value(&[]) < 1e-6, "{}", norms.n);
    }

    /// In single precision from a bf16 weight: as exact as casting all of it, in blocks.
    #[test]
    fn a_weight_of_another_kind_is_cast_in_blocks() {
        let weight = draw("w", [5000, 1000]).to_kind(Kind::BFloat16);
        assert!(weight.numel() as i64 > CAST, "more than one block");
        let (left, right) = (draw("l", [2, 5000]), draw("r", [1000, 2]));
        let whole = weight.to_kind(Kind::Double);
        let dense = Dense::new(&weight);
        assert_eq!(times(&dense, &right), whole.mm(&right));
        let difference = (times_left(&dense, &left) - left.mm(&whole)).abs().max().double_value(&[]);
        assert!(difference < 1e-10, "sums in another order: {difference:e}");
    }

    #[test]
    fn rows_of_zeros_keep_the_factor_one() {
        let (m, n) = (Tensor::from_slice(&[0.0, 2.0, 0.0]), Tensor::from_slice(&[0.0, 4.0, 1.0]));
        assert_eq!(Vec::<f64>::try_from(row_scale(&m, &n)).unwrap(), [1.0, 0.5, 0.0]);
    }
}
