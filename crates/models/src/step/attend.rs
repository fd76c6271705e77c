use multiversion::multiversion;
use wide::f32x8;

/// `softmax(s·K·q)ᵀ·V` for one query `q [d]` and all of `keys`, `values [n, d]`; `scores` is room for n numbers.
///
/// Compiled for what the processor has, found out when it runs.
#[multiversion(targets("x86_64+avx2+fma", "x86_64+avx512f"))]
pub(super) fn attend(
    q: &[f32],
    keys: &[f32],
    values: &[f32],
    scale: f32,
    scores: &mut Vec<f32>,
    out: &mut [f32],
) {
    let width = q.len();
    scores.clear();
    scores.resize(keys.len() / width, 0.0);
    // Loops, not iterators with closures: a closure is compiled for any processor.
    let mut most = f32::NEG_INFINITY;
    for (score, key) in scores.iter_mut().zip(keys.chunks_exact(width)) {
        *score = dot(q, key) * scale;
        most = most.max(*score);
    }
    let sum = exponentials(scores, most);
    out.fill(0.0);
    // Four values at a time, so that `out` is read and written a quarter as often.
    let (fours, left) = scores.as_chunks::<4>();
    let (values, last) = values.split_at(4 * fours.len() * width);
    for (p, rows) in fours.iter().zip(values.chunks_exact(4 * width)) {
        let (a, rows) = rows.split_at(width);
        let (b, rows) = rows.split_at(width);
        let (c, d) = rows.split_at(width);
        for ((((out, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *out += p[0] * a + p[1] * b + (p[2] * c + p[3] * d);
        }
    }
    for (p, row) in left.iter().zip(last.chunks_exact(width)) {
        for (out, value) in out.iter_mut().zip(row) {
            *out += p * value;
        }
    }
    let factor = 1.0 / sum;
    for out in out {
        *out *= factor;
    }
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (eights, rest) = a.as_chunks::<8>();
    let (others, last) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in eights.iter().zip(others) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let mut sum = 0.0;
    for (a, b) in rest.iter().zip(last) {
        sum += a * b;
    }
    for part in sums {
        sum += part;
    }
    sum
}

/// `exp(x − most)` of every entry, and the sum of them.
#[inline(always)]
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
