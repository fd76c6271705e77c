//! The products of which fused low-rank layers are made, for methods with a backward of their own.

use tch::Tensor;

use crate::FrozenWeight;

/// `y += left·right`, in one pass where the kinds agree. `y [m, n]`, `left [m, k]`, `right [k, n]`.
pub fn add_product(y: &mut Tensor, left: &Tensor, right: &Tensor) {
    if y.kind() == left.kind() {
        let _ = y.addmm_(left, right);
    } else {
        *y += left.mm(right);
    }
}

/// `W + B·A`, a fresh tensor `[out, in]`, for factors of the kind of W.
pub fn fold(weight: &dyn FrozenWeight, b: &Tensor, a: &Tensor) -> Tensor {
    match weight.as_dense() {
        Some(dense) => dense.addmm(b, a),
        None => weight.dense().addmm_(b, a),
    }
}

/// `[.., n] -> [T, n]`.
///
/// # Panics
/// If `x` has no axis.
pub fn rows(x: &Tensor) -> Tensor {
    x.reshape([-1, *x.size().last().expect("a layer's input has a last axis")])
}

/// The shape of `x` with another last axis.
///
/// # Panics
/// If `x` has no axis.
pub fn with_last(x: &Tensor, features: i64) -> Vec<i64> {
    let mut size = x.size();
    *size.last_mut().expect("a layer's input has a last axis") = features;
    size
}
