use pulp::{Arch, Simd, WithSimd};
use wide::f32x8;

/// `softmax(s·K·q)ᵀ·V` for one query `q [d]` and all of `keys`, `values [n, d]`, with the widest vectors that the processor
/// has; `scores` is room for n numbers.
pub(super) fn attend(
    q: &[f32],
    keys: &[f32],
    values: &[f32],
    scale: f32,
    scores: &mut Vec<f32>,
    out: &mut [f32],
) {
    scores.resize(keys.len() / q.len(), 0.0);
    let arch = Arch::new();
    arch.dispatch(Scores { q, keys, scale, scores });
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum = exponentials(scores, most);
    arch.dispatch(Mixture { weights: scores, values, factor: 1.0 / sum, out });
}

/// `s·K·q`.
struct Scores<'a> {
    q: &'a [f32],
    keys: &'a [f32],
    scale: f32,
    scores: &'a mut [f32],
}

impl WithSimd for Scores<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (q, q_rest) = S::as_simd_f32s(self.q);
        let q_rest = simd.partial_load_f32s(q_rest);
        for (score, key) in self.scores.iter_mut().zip(self.keys.chunks_exact(self.q.len())) {
            let (key, rest) = S::as_simd_f32s(key);
            let mut sum = simd.mul_f32s(q_rest, simd.partial_load_f32s(rest));
            for (q, key) in q.iter().zip(key) {
                sum = simd.mul_add_f32s(*q, *key, sum);
            }
            *score = simd.reduce_sum_f32s(sum) * self.scale;
        }
    }
}

/// `c·Σ w_n·v_n`.
struct Mixture<'a> {
    weights: &'a [f32],
    values: &'a [f32],
    factor: f32,
    out: &'a mut [f32],
}

/// Values whose sum stays in registers before `out` is written again.
const AT_ONCE: usize = 8;

impl WithSimd for Mixture<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { weights, values, factor, out } = self;
        let width = out.len();
        out.fill(0.0);
        for (weights, rows) in weights.chunks(AT_ONCE).zip(values.chunks(AT_ONCE * width)) {
            let (head, tail) = S::as_mut_simd_f32s(out);
            for (index, out) in head.iter_mut().enumerate() {
                for (weight, row) in weights.iter().zip(rows.chunks_exact(width)) {
                    let row = S::as_simd_f32s(row).0;
                    *out = simd.mul_add_f32s(simd.splat_f32s(*weight), row[index], *out);
                }
            }
            if !tail.is_empty() {
                let mut sum = simd.partial_load_f32s(tail);
                for (weight, row) in weights.iter().zip(rows.chunks_exact(width)) {
                    let row = simd.partial_load_f32s(S::as_simd_f32s(row).1);
                    sum = simd.mul_add_f32s(simd.splat_f32s(*weight), row, sum);
                }
                simd.partial_store_f32s(tail, sum);
            }
        }
        for out in out {
            *out *= factor;
        }
    }
}

/// `exp(x − most)` of every entry, and the sum of them.
fn exponentials(x: &mut [f32], most: f32) -> f32 {
    let (eights, rest) = x.as_chunks_mut::<8>();
    let mut sum = f32x8::ZERO;
    for eight in eights {
        let power = (f32x8::from(*eight) - f32x8::splat(most)).exp();
        *eight = power.to_array();
        sum += power;
    }
    let mut total = sum.reduce_add();
    for x in rest {
        *x = (*x - most).exp();
        total += *x;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Widths and counts that do and do not fill vectors, against sums written out in f64.
    #[test]
    fn agrees_with_the_definition() {
        let number = |i: usize| ((i * 7919 + 13) % 1000) as f32 / 500.0 - 1.0;
        for (width, count) in [(40, 1), (40, 70), (3, 5), (64, 33), (17, 8)] {
            let q: Vec<f32> = (0..width).map(number).collect();
            let keys: Vec<f32> = (0..count * width).map(|i| number(i + 101)).collect();
            let values: Vec<f32> = (0..count * width).map(|i| number(i + 707)).collect();
            let (mut scores, mut out) = (Vec::new(), vec![0.0; width]);
            attend(&q, &keys, &values, 0.3, &mut scores, &mut out);

            let dot =
                |key: &[f32]| key.iter().zip(&q).map(|(k, q)| f64::from(*k) * f64::from(*q)).sum::<f64>();
            let powers: Vec<f64> = keys.chunks(width).map(|key| (0.3 * dot(key)).exp()).collect();
            let sum: f64 = powers.iter().sum();
            for (i, got) in out.iter().enumerate() {
                let mixed = powers.iter().zip(values.chunks(width)).map(|(p, v)| p * f64::from(v[i]));
                let want = mixed.sum::<f64>() / sum;
                assert!((f64::from(*got) - want).abs() < 1e-5, "{width} × {count}: {got} for {want}");
            }
        }
    }
}
