//! ROUGE as the Python package `rouge-score` computes it with `use_stemmer=True`.
//!
//! C.-Y. Lin, ROUGE: A Package for Automatic Evaluation of Summaries (2004).

mod porter;

use regex::Regex;
use std::collections::BTreeMap;
use std::sync::LazyLock;

static SEPARATORS: LazyLock<Regex> = LazyLock::new(|| Regex::new("[^a-z0-9]+").expect("it is a pattern"));

/// Lower-case runs of a to z and digits, those of more than three characters stemmed.
pub fn tokens(text: &str) -> Vec<String> {
    let stemmed = |word: &str| if word.len() > 3 { porter::stem(word) } else { word.to_owned() };
    SEPARATORS.split(&text.to_lowercase()).filter(|word| !word.is_empty()).map(stemmed).collect()
}

/// F1 of the n-grams both have.
pub fn rouge_n(reference: &[String], output: &[String], n: usize) -> f64 {
    let (reference, output) = (count(reference, n), count(output, n));
    let common: usize =
        reference.iter().map(|(gram, count)| (*count).min(output.get(gram).copied().unwrap_or(0))).sum();
    f_measure(common, reference.values().sum(), output.values().sum())
}

/// F1 of the longest common subsequence.
pub fn rouge_l(reference: &[String], output: &[String]) -> f64 {
    let mut row = vec![0; output.len() + 1];
    for word in reference {
        let mut diagonal = 0;
        for (index, said) in output.iter().enumerate() {
            let above = row[index + 1];
            row[index + 1] = if word == said { diagonal + 1 } else { above.max(row[index]) };
            diagonal = above;
        }
    }
    f_measure(row[output.len()], reference.len(), output.len())
}

/// How often each n-gram occurs.
pub fn count<T: Ord>(tokens: &[T], n: usize) -> BTreeMap<&[T], usize> {
    let mut counts = BTreeMap::new();
    for gram in tokens.windows(n) {
        *counts.entry(gram).or_insert(0) += 1;
    }
    counts
}

fn f_measure(common: usize, reference: usize, output: usize) -> f64 {
    if common == 0 {
        return 0.0;
    }
    let (precision, recall) = (common as f64 / output as f64, common as f64 / reference as f64);
    2.0 * precision * recall / (precision + recall)
}
