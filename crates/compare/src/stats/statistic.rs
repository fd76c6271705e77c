//! Figures of a set of items that are no mean over them.

/// A figure of a set of items, made from columns of numbers that each item has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// Correlation of Matthews for any number of classes: `(c·n − Σ t_k p_k) / √((n² − Σ p_k²)(n² − Σ t_k²))` with `c`
    /// right items of `n`, class `k` true in `t_k` and predicted in `p_k` of them (Gorodkin, Comput. Biol. Chem. 2004);
    /// 0 where all items are of one class or are given one class, as in scikit-learn.
    Matthews,
    /// F1 of class 1, `2·TP / (2·TP + FP + FN)`; 0 where the class is neither true nor predicted, as in scikit-learn.
    F1,
    /// Pearson's correlation; 0 where a side does not vary.
    Pearson,
    /// Spearman's correlation, Pearson's of the ranks (ties share the mean of their ranks); 0 where a side does not vary.
    Spearman,
    /// BLEU-4 of the corpus between 0 and 1 (Papineni et al., ACL 2002), zero precisions smoothed as in sacrebleu (`exp`).
    Bleu,
    /// `exp(nats / tokens)`.
    Perplexity,
    /// `nats / (characters · ln 2)`.
    BitsPerCharacter,
    /// `nats / tokens`.
    NatsPerToken,
}

/// The true and the predicted class, or value.
const PAIR: &[&str] = &["gold", "predicted"];

/// Matches and n-grams of the output for n from 1 to 4, words of the output and of its reference.
const BLEU: &[&str] = &[
    "bleu.match1",
    "bleu.match2",
    "bleu.match3",
    "bleu.match4",
    "bleu.total1",
    "bleu.total2",
    "bleu.total3",
    "bleu.total4",
    "bleu.length",
    "bleu.reference_length",
];

/// A side varies where its norm is more than this times its mean; below is rounding (scipy's bound).
const CONSTANT: f64 = 1e-13;

impl Statistic {
    /// The names of the columns it reads.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Matthews | Self::F1 | Self::Pearson | Self::Spearman => PAIR,
            Self::Bleu => BLEU,
            Self::Perplexity | Self::NatsPerToken => &["nats", "tokens"],
            Self::BitsPerCharacter => &["nats", "characters"],
        }
    }

    /// What is wrong with an item's columns, if anything.
    pub(crate) fn problem(self, item: &[f64]) -> Option<String> {
        let columns = || self.columns().iter().zip(item);
        let odd = |fits: fn(f64) -> bool, expected: &str| {
            let (name, value) = columns().find(|&(_, &value)| !fits(value))?;
            Some(format!("its `{name}` is `{value}`, expected {expected}"))
        };
        match self {
            Self::Matthews | Self::F1 if item[0] < 0.0 => {
                Some(format!("its `gold` is `{}`, not a class", item[0]))
            }
            Self::Matthews | Self::F1 => odd(
                |v| v >= -1.0 && v.fract() == 0.0 && v.is_finite(),
                "the number of a class, or -1 for none",
            ),
            Self::Pearson | Self::Spearman => odd(f64::is_finite, "a number"),
            Self::Bleu | Self::Perplexity | Self::BitsPerCharacter | Self::NatsPerToken => {
                odd(|v| v >= 0.0 && v.is_finite(), "a number of at least 0")
            }
        }
    }
}

/// The first sum over the second; NaN where that is 0.
pub(super) fn ratio(sums: &[f64]) -> f64 {
    if sums[1] > 0.0 { sums[0] / sums[1] } else { f64::NAN }
}

/// BLEU from the sums of its columns.
pub(super) fn bleu(sums: &[f64]) -> f64 {
    let (matches, totals) = (&sums[..4], &sums[4..8]);
    let (length, reference) = (sums[8], sums[9]);
    // Without n-grams of every size the geometric mean is 0, smoothed or not.
    if matches.iter().all(|&m| m == 0.0) || totals.contains(&0.0) {
        return 0.0;
    }
    let mut smoothing = 1.0;
    let logs = matches.iter().zip(totals).map(|(&matched, &total)| {
        if matched == 0.0 {
            smoothing *= 2.0;
        }
        (if matched == 0.0 { 1.0 / (smoothing * total) } else { matched / total }).ln()
    });
    let precision = (logs.sum::<f64>() / 4.0).exp();
    let brevity = if length < reference { (1.0 - reference / length).exp() } else { 1.0 };
    brevity * precision
}

/// Pearson's correlation of pairs; NaN for none, 0 where a side does not vary.
pub(super) fn pearson(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let (n, x_sum, y_sum) =
        pairs.clone().fold((0.0, 0.0, 0.0), |(n, xs, ys), (x, y)| (n + 1.0, xs + x, ys + y));
    let (x_mean, y_mean) = (x_sum / n, y_sum / n);
    let (xx, yy, xy): (f64, f64, f64) = pairs.fold((0.0, 0.0, 0.0), |(xx, yy, xy), (x, y)| {
        let (x, y) = (x - x_mean, y - y_mean);
        (xx + x * x, yy + y * y, xy + x * y)
    });
    let constant = |square: f64, mean: f64| square.sqrt() <= CONSTANT * mean.abs() * f64::sqrt(n);
    if n == 0.0 {
        f64::NAN
    } else if constant(xx, x_mean) || constant(yy, y_mean) {
        0.0
    } else {
        (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0)
    }
}

/// Matthews' correlation from how often each class is true, and is predicted, and how many items are right.
pub(super) fn matthews(gold: &[u32], predicted: &[u32], right: u32) -> f64 {
    let dot = |a: &[u32], b: &[u32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let n = f64::from(gold.iter().sum::<u32>());
    let spread = (n * n - dot(predicted, predicted)) * (n * n - dot(gold, gold));
    match n {
        0.0 => f64::NAN,
        _ if spread == 0.0 => 0.0,
        _ => (f64::from(right) * n - dot(gold, predicted)) / spread.sqrt(),
    }
}

/// Writes the mean rank of each value, given how often it occurs, values ascending.
pub(super) fn mid_ranks(counts: &[u32], ranks: &mut [f64]) {
    let mut before = 0.0;
    for (&count, rank) in counts.iter().zip(ranks) {
        *rank = before + f64::midpoint(1.0, f64::from(count));
        before += f64::from(count);
    }
}
