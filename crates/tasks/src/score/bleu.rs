//! BLEU as `sacrebleu` computes it by default: tokenizer 13a, n-grams up to four, cased.
//!
//! K. Papineni et al., BLEU: a Method for Automatic Evaluation of Machine Translation (2002); M. Post, A Call for
//! Clarity in Reporting BLEU Scores (2018, arXiv 1804.08771).

use super::Scores;
use super::rouge::count;
use super::words::{is_space, words};
use regex::Regex;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What corpus BLEU sums over items: n-grams of the answer that a reference has, n-grams of the answer, words of the
/// answer, words of the reference nearest in length.
pub const COLUMNS: &[&str] = &[
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

static RULES: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
    let rule = |pattern: &str, with| (Regex::new(pattern).expect("it is a pattern"), with);
    [
        // Punctuation but for the apostrophe, comma, hyphen and full stop.
        rule(r"([{-~\[-` -&(-+:-@/])", " ${1} "),
        rule(r"([^0-9])([.,])", "${1} ${2} "),
        rule(r"([.,])([^0-9])", " ${1} ${2}"),
        rule(r"([0-9])(-)", "${1} ${2} "),
    ]
});

/// The words of a text, by the tokenizer 13a of the Workshop on Machine Translation.
pub fn tokens(text: &str) -> Vec<String> {
    let mut line =
        text.trim_end_matches(is_space).replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    for (entity, character) in [("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")] {
        line = line.replace(entity, character);
    }
    line = format!(" {line} ");
    for (pattern, with) in RULES.iter() {
        line = pattern.replace_all(&line, *with).into_owned();
    }
    words(&line).map(ToOwned::to_owned).collect()
}

/// The columns of one item.
pub fn score(references: &[String], output: &str) -> Scores {
    let references: Vec<_> = references.iter().map(|reference| tokens(reference)).collect();
    let output = tokens(output);
    let mut values = Vec::with_capacity(COLUMNS.len());
    let mut totals = Vec::new();
    for n in 1..=4 {
        let mut allowed: BTreeMap<&[String], usize> = BTreeMap::new();
        for (gram, times) in references.iter().flat_map(|reference| count(reference, n)) {
            let most = allowed.entry(gram).or_insert(0);
            *most = times.max(*most);
        }
        let said = count(&output, n);
        let matches: usize =
            said.iter().map(|(gram, times)| allowed.get(gram).map_or(0, |most| *times.min(most))).sum();
        values.push(matches);
        totals.push(said.values().sum());
    }
    values.append(&mut totals);
    values.push(output.len());
    let lengths = references.iter().map(Vec::len);
    let nearest = lengths.min_by_key(|length| (length.abs_diff(output.len()), *length));
    values.push(nearest.expect("an item has a reference"));
    COLUMNS.iter().copied().zip(values.into_iter().map(|value| value as f64)).collect()
}
