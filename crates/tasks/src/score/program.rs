//! A program beside the reference, on hidden inputs.

use super::{Metric, Scores, fraction};
use crate::config::Problem;
use crate::dice::Dice;
use crate::program::Program;
use std::ops::RangeInclusive;

pub const METRICS: &[Metric] = &[
    Metric::fraction(
        "pass@1",
        "The one program that was written gives the reference's result on every hidden input.",
    ),
    Metric::fraction("well_formed", "The answer is a program of the language."),
];

pub struct Judge {
    pub inputs: usize,
    pub range: RangeInclusive<i64>,
    pub seed: u64,
    pub step_limit: u64,
}

impl Judge {
    pub fn score(&self, answer: &str, output: &str) -> Result<Scores, String> {
        let reference = Program::parse(answer).map_err(|error| format!("the reference: {error}"))?;
        let written = Program::parse(output);
        // The inputs depend on what is asked, not on where it stands in the file.
        let mut dice = Dice::named(self.seed, answer);
        let mut passed = written.is_ok();
        for _ in 0..self.inputs {
            let x = dice.range(self.range.clone());
            let right =
                reference.run(x, self.step_limit).map_err(|error| format!("the reference: {error}"))?;
            passed &= written.as_ref().is_ok_and(|program| program.run(x, self.step_limit) == Ok(right));
        }
        Ok(Scores::from([("pass@1", fraction(passed)), ("well_formed", fraction(written.is_ok()))]))
    }
}

pub fn check(inputs: usize, low: i64, high: i64) -> Result<(), Problem> {
    if inputs == 0 {
        return Err(Problem::new("inputs", "`inputs` must be positive"));
    }
    if low > high || high.checked_sub(low).is_none_or(|width| width >= i64::from(u32::MAX)) {
        return Err(Problem::new(
            "low",
            format!("no input is between {low} and {high}, or far too many are"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const JUDGE: Judge = Judge { inputs: 8, range: -20..=60, seed: 0, step_limit: 200 };

    #[test]
    fn meaning_counts_and_spelling_does_not() {
        let score = |output| JUDGE.score("x = x + 4 ; x = x - 9", output).unwrap()["pass@1"];
        assert_eq!(score(" x = x + 4 ; x = x - 9"), 1.0);
        assert_eq!(score("x = x - 5"), 1.0);
        assert_eq!(score("x = x - 6"), 0.0);
        assert_eq!(score("x = x - 5 ;"), 0.0);
        assert_eq!(score("loop 999999999 : x = x - 5"), 0.0);
        assert_eq!(score(""), 0.0);
    }

    #[test]
    fn a_program_right_on_most_inputs_fails() {
        let score = JUDGE.score("x = max ( x , 20 )", "if x > 19 : x = x + 0").unwrap();
        assert_eq!((score["pass@1"], score["well_formed"]), (0.0, 1.0));
    }
}
