//! Generated text against one or more references.

use super::words::squeeze;
use super::{Aggregate, Metric, Scores, bleu, fraction, rouge};

pub const METRICS: &[Metric] = &[
    Metric::fraction(
        "rouge1",
        "ROUGE-1: F1 of the words, stemmed; with several references the best. As `rouge-score` 0.1.2 with \
         `use_stemmer=True`.",
    ),
    Metric::fraction("rouge2", "ROUGE-2: the same for pairs of neighbouring words."),
    Metric::fraction(
        "rougeL",
        "ROUGE-L: F1 of the longest common subsequence of words, over the whole text.",
    ),
    Metric {
        aggregate: Aggregate::Bleu,
        ..Metric::fraction(
            "bleu",
            "Corpus BLEU, from 0 to 1: brevity penalty times the geometric mean of the precisions of n-grams up to \
             four, summed over items. As `sacrebleu` with its defaults (13a, cased, exponential smoothing) over 100.",
        )
    },
    Metric::fraction("exact_match", "The answer is a reference; runs of white space count as one space."),
];

pub fn score(references: &str, output: &str) -> Result<Scores, String> {
    let references = texts(references)?;
    let said = rouge::tokens(output);
    let wanted: Vec<_> = references.iter().map(|reference| rouge::tokens(reference)).collect();
    let best = |of: &dyn Fn(&[String]) -> f64| wanted.iter().map(|tokens| of(tokens)).fold(0.0, f64::max);
    let mut scores = bleu::score(&references, output);
    scores.extend([
        ("rouge1", best(&|reference| rouge::rouge_n(reference, &said, 1))),
        ("rouge2", best(&|reference| rouge::rouge_n(reference, &said, 2))),
        ("rougeL", best(&|reference| rouge::rouge_l(reference, &said))),
        ("exact_match", fraction(references.iter().any(|reference| squeeze(reference) == squeeze(output)))),
    ]);
    Ok(scores)
}

/// A JSON list of texts, or else one text.
fn texts(field: &str) -> Result<Vec<String>, String> {
    match serde_json::from_str::<Vec<String>>(field) {
        Ok(texts) if texts.is_empty() => Err("the list of references is empty".to_owned()),
        Ok(texts) => Ok(texts),
        Err(_) => Ok(vec![field.to_owned()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_a_text_or_a_list_of_texts() {
        assert_eq!(texts("[laughs] a dog").unwrap(), ["[laughs] a dog"]);
        assert_eq!(texts(r#"["a dog", "one dog"]"#).unwrap(), ["a dog", "one dog"]);
        assert_eq!(texts("[]").unwrap_err(), "the list of references is empty");
        assert_eq!(score(r#"["a dog", "one  dog"]"#, " one dog\n").unwrap()["exact_match"], 1.0);
    }
}
