//! A span of a text, or nothing, by the rules of SQuAD.
//!
//! P. Rajpurkar et al., SQuAD (2016, arXiv 1606.05250) and Know What You Don't Know (2018, arXiv 1806.03822), with
//! their scripts `evaluate-v1.1.py` and `evaluate-v2.0.py`.

use super::words::words;
use super::{Metric, Scores, fraction};
use regex::{Captures, Regex};
use std::collections::BTreeMap;
use std::sync::LazyLock;

pub const METRICS: &[Metric] = &[
    Metric::fraction(
        "exact_match",
        "The answer is a gold text after both are in lower case, without ASCII punctuation, articles and surplus \
         white space. Where no answer exists, only the empty answer is right. As SQuAD's script of version 2.0.",
    ),
    Metric::fraction(
        "f1",
        "F1 of the words of the answer and of a gold text, both normalized the same way; of several gold texts the \
         best. The mean over questions, as SQuAD's script of version 2.0.",
    ),
];

pub fn score(answers: &str, output: &str) -> Result<Scores, String> {
    let answers: Vec<String> = serde_json::from_str(answers)
        .map_err(|error| format!("the gold `{answers}` is no JSON list of texts: {error}"))?;
    let said = normalize(output);
    // A gold text of articles and punctuation alone says nothing, and a question without a gold text has no answer.
    let mut gold: Vec<_> =
        answers.iter().map(|answer| normalize(answer)).filter(|words| !words.is_empty()).collect();
    if gold.is_empty() {
        gold.push(Vec::new());
    }
    Ok(Scores::from([
        ("exact_match", fraction(gold.contains(&said))),
        ("f1", gold.iter().map(|gold| f1(gold, &said)).fold(0.0, f64::max)),
    ]))
}

/// The words that count. A word is what Python calls one: a run of letters, numbers and underscores, so `a` beside a
/// combining mark is an article there.
fn normalize(text: &str) -> Vec<String> {
    static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[\p{L}\p{N}_]+").expect("it is a pattern"));
    let bare: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let without_articles = WORD.replace_all(&bare, |word: &Captures<'_>| match &word[0] {
        "a" | "an" | "the" => " ".to_owned(),
        other => other.to_owned(),
    });
    words(&without_articles).map(ToOwned::to_owned).collect()
}

fn f1(gold: &[String], said: &[String]) -> f64 {
    if gold.is_empty() || said.is_empty() {
        return fraction(gold == said);
    }
    let mut left: BTreeMap<&String, usize> = BTreeMap::new();
    for word in gold {
        *left.entry(word).or_insert(0) += 1;
    }
    let mut common = 0;
    for word in said {
        if let Some(count) = left.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            common += 1;
        }
    }
    if common == 0 {
        return 0.0;
    }
    let (precision, recall) = (f64::from(common) / said.len() as f64, f64::from(common) / gold.len() as f64);
    2.0 * precision * recall / (precision + recall)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gold_that_is_no_list_is_an_error() {
        assert!(
            score("Paris", "Paris").unwrap_err().starts_with("the gold `Paris` is no JSON list of texts")
        );
    }
}
