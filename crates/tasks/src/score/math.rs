//! The answer to a problem of the MATH data, up to spelling.
//!
//! D. Hendrycks et al., Measuring Mathematical Problem Solving With the MATH Dataset (2021, arXiv 2103.03874) and its
//! code `math_equivalence.py`.

mod spelling;

use super::{Metric, Scores, fraction};
use regex::Regex;
use std::sync::LazyLock;

pub const METRICS: &[Metric] = &[Metric::fraction(
    "accuracy",
    "The last `\\boxed{..}` of the answer, or else what follows its last `answer is`, is the gold answer by the \
     equivalence of Hendrycks et al.",
)];

pub fn score(answer: &str, output: &str) -> Scores {
    let gold = last_boxed(answer).unwrap_or(answer);
    let said = last_boxed(output).or_else(|| after_answer_is(output));
    Scores::from([("accuracy", fraction(said.is_some_and(|said| spelling::equivalent(said, gold))))])
}

/// What the last `\boxed` holds: between its braces, or, where a space follows it, up to the next dollar sign.
fn last_boxed(text: &str) -> Option<&str> {
    let (_, rest) = text.rsplit_once(r"\boxed")?;
    if let Some(bare) = rest.strip_prefix(' ') {
        return bare.split('$').next();
    }
    let rest = rest.strip_prefix('{')?;
    let mut open = 1;
    for (at, c) in rest.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(&rest[..at]);
        }
    }
    None
}

/// What follows the last `answer is`, as the code of MetaMath reads it: up to a full stop at the end of a line. Dollar
/// signs around it are dropped.
fn after_answer_is(text: &str) -> Option<&str> {
    static MARKER: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("(?i)answer is:?").expect("it is a pattern"));
    let found = MARKER.find_iter(text).last()?;
    let rest = text[found.end()..].split(".\n").next()?.trim();
    let rest = rest.strip_suffix('.').unwrap_or(rest).trim();
    Some(rest.strip_prefix('$').and_then(|rest| rest.strip_suffix('$')).unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_counts() {
        for (output, right) in [
            (r"So \boxed{1}, no: \boxed{\frac{1}{2}}.", 1.0),
            (r"\boxed{0.5} and \boxed{2}", 0.0),
            (r"$\boxed 0.5$ it is", 1.0),
            ("The answer is: 1/2", 1.0),
            ("The answer is 3. No, the final answer is $\\frac12$.\nNext", 1.0),
            ("the answer is 0.5\nNext", 0.0),
            (r"\boxed{1/2} The answer is 3", 1.0),
            (r"\boxed{1/2 The answer is 1/2", 1.0),
            ("0.5", 0.0),
            ("", 0.0),
        ] {
            for gold in [r"\frac{1}{2}", r"Half: $\boxed{\frac{1}{2}}$."] {
                assert_eq!(score(gold, output)["accuracy"], right, "{output}");
            }
        }
    }
}
