//! The whole answer against the right option.

use super::{Metric, Scores, fraction};

pub const METRICS: &[Metric] =
    &[Metric::fraction("accuracy", "The answer is the right option, but for white space at its ends.")];

pub fn score(answer: &str, output: &str) -> Scores {
    Scores::from([("accuracy", fraction(output.trim() == answer.trim()))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_answer_counts() {
        for (output, right) in
            [(" red fox\n", 1.0), ("red", 0.0), ("red fox runs", 0.0), ("Red fox", 0.0), ("", 0.0)]
        {
            assert_eq!(score("red fox ", output)["accuracy"], right, "{output}");
        }
    }
}
