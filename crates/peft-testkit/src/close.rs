use tch::{Kind, Tensor};

/// How far two tensors may be apart: `max|a - b| <= atol + rtol·max|b|`, over the whole tensor.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Absolute part.
    pub atol: f64,
    /// Part relative to the largest magnitude expected.
    pub rtol: f64,
}

impl Tolerance {
    /// Two orders of the same f32 sums over at most a few hundred terms: 25 times the deviation of such a sum from
    /// its f64 value, as the golden cases allow.
    pub const F32: Self = Self { atol: 1e-6, rtol: 5e-5 };
    /// The same for gradients, which pass through more sums.
    pub const F32_GRADIENT: Self = Self { atol: 1e-6, rtol: 3e-4 };
    /// One rounding to bf16 (2⁻⁸ relative) on each side, and a factor of 4 for the layers behind it.
    pub const BF16: Self = Self { atol: 1e-3, rtol: 4.0 / 128.0 };
    /// The same bits.
    pub const EXACT: Self = Self { atol: 0.0, rtol: 0.0 };
}

impl Tolerance {
    /// Whether `a` is `b` up to this; otherwise the largest difference and what is allowed.
    ///
    /// # Errors
    /// A sentence with both.
    pub fn check(self, a: &Tensor, b: &Tensor) -> Result<(), String> {
        if a.size() != b.size() {
            return Err(format!("shapes {:?} and {:?}", a.size(), b.size()));
        }
        let (a, b) = (a.detach().to_kind(Kind::Double), b.detach().to_kind(Kind::Double));
        let difference = (&a - &b).abs().max().double_value(&[]);
        let allowed = self.atol + self.rtol * b.abs().max().double_value(&[]);
        let close = difference <= allowed;
        close.then_some(()).ok_or_else(|| format!("max difference {difference:e}, allowed {allowed:e}"))
    }
}

/// Checks that `a` is `b` up to `tolerance`.
///
/// # Panics
/// With `what`, the largest difference and what was allowed, if it is not.
pub fn assert_close(what: &str, a: &Tensor, b: &Tensor, tolerance: Tolerance) {
    if let Err(apart) = tolerance.check(a, b) {
        panic!("{what}: {apart}");
    }
}
