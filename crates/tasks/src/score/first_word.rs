//! The first word of an answer against the right option.

use super::{Metric, Scores, fraction};

pub const METRICS: &[Metric] =
    &[Metric::fraction("accuracy", "The first word of the answer is the right option.")];

pub fn score(answer: &str, output: &str) -> Scores {
    Scores::from([("accuracy", fraction(output.split_whitespace().next() == Some(answer.trim())))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_word_counts() {
        for (output, right) in
            [(" cave", 1.0), ("cave hill", 1.0), (" caves", 0.0), ("the cave", 0.0), ("", 0.0), ("Cave", 0.0)]
        {
            assert_eq!(score("cave", output)["accuracy"], right, "{output}");
        }
    }
}
