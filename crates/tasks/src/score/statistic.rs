//! Statistics of whole sets of items.

use std::collections::BTreeMap;

/// Matthews' correlation of classes `[gold, predicted]`, in the form for any number of classes:
/// (n·c − Σ tₖpₖ) / √((n² − Σ pₖ²)(n² − Σ tₖ²)) with n items of which c are right, tₖ of class k and pₖ predicted so.
///
/// J. Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient (2004).
pub fn matthews(pairs: &[[f64; 2]]) -> f64 {
    let mut classes: BTreeMap<i64, [f64; 2]> = BTreeMap::new();
    let mut right = 0.0;
    for [gold, predicted] in pairs {
        classes.entry(*gold as i64).or_default()[0] += 1.0;
        classes.entry(*predicted as i64).or_default()[1] += 1.0;
        right += f64::from(u8::from(gold == predicted));
    }
    let n = pairs.len() as f64;
    let product = |a: usize, b: usize| classes.values().map(|counts| counts[a] * counts[b]).sum::<f64>();
    let [both, gold, predicted] = [product(0, 1), product(0, 0), product(1, 1)];
    let spread = (n * n - gold) * (n * n - predicted);
    if spread == 0.0 { 0.0 } else { (n * right - both) / spread.sqrt() }
}

/// F1 of class 1 of classes `[gold, predicted]`.
pub fn f1(pairs: &[[f64; 2]]) -> f64 {
    let count = |holds: &dyn Fn(&[f64; 2]) -> bool| pairs.iter().filter(|pair| holds(pair)).count() as f64;
    let both = count(&|pair| pair[0] == 1.0 && pair[1] == 1.0);
    let either = count(&|pair| pair[0] == 1.0) + count(&|pair| pair[1] == 1.0);
    if either == 0.0 { 0.0 } else { 2.0 * both / either }
}

/// Pearson's correlation of values `[gold, predicted]`; 0 where one side never varies, which SciPy leaves undefined: a
/// model that always says the same has learnt nothing.
pub fn pearson(pairs: &[[f64; 2]]) -> f64 {
    let varies = |side: usize| pairs.iter().any(|pair| pair[side] != pairs[0][side]);
    if !varies(0) || !varies(1) {
        return 0.0;
    }
    let n = pairs.len() as f64;
    let mean = [0, 1].map(|side| pairs.iter().map(|pair| pair[side]).sum::<f64>() / n);
    let moment = |a: usize, b: usize| pairs.iter().map(|p| (p[a] - mean[a]) * (p[b] - mean[b])).sum::<f64>();
    (moment(0, 1) / (moment(0, 0).sqrt() * moment(1, 1).sqrt())).clamp(-1.0, 1.0)
}

/// Spearman's rank correlation: Pearson's of the ranks.
pub fn spearman(pairs: &[[f64; 2]]) -> f64 {
    let [gold, predicted] =
        [0, 1].map(|side| ranks(&pairs.iter().map(|pair| pair[side]).collect::<Vec<_>>()));
    pearson(&gold.into_iter().zip(predicted).map(|(gold, predicted)| [gold, predicted]).collect::<Vec<_>>())
}

/// Ranks from 1; equal values share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for group in order.chunk_by(|a, b| values[*a] == values[*b]) {
        for index in group {
            ranks[*index] = before as f64 + (group.len() + 1) as f64 / 2.0;
        }
        before += group.len();
    }
    ranks
}

/// Corpus BLEU from 0 to 1 of summed columns: matches and totals of n-grams of one to four words, length of the answers
/// and of their references. The k-th order without a match counts as 2⁻ᵏ matches (`exp` smoothing); without any match
/// at all, and where all answers have fewer than four words, the value is 0.
pub fn bleu(sums: &[f64]) -> f64 {
    let [matches, totals] = [&sums[0..4], &sums[4..8]];
    let [length, reference_length] = [sums[8], sums[9]];
    if matches.iter().all(|count| *count == 0.0) || totals.contains(&0.0) {
        return 0.0;
    }
    let mut smoothed = 1.0;
    let mut log_precisions = 0.0;
    for (count, total) in matches.iter().zip(totals) {
        let count = if *count == 0.0 {
            smoothed /= 2.0;
            smoothed
        } else {
            *count
        };
        log_precisions += (count / total).ln();
    }
    let brevity = (1.0 - reference_length / length).min(0.0).exp();
    brevity * (log_precisions / 4.0).exp()
}
