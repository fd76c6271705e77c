//! A number on a scale.

use super::{Aggregate, Metric, Scores};

pub const METRICS: &[Metric] = &[
    Metric {
        aggregate: Aggregate::Pearson,
        ..Metric::fraction(
            "pearson",
            "Pearson's correlation of the right and the answered values, from -1 to 1; an answer that is no number \
             counts as 0. As `scipy.stats.pearsonr`, but 0 where one side never varies.",
        )
    },
    Metric {
        aggregate: Aggregate::Spearman,
        ..Metric::fraction(
            "spearman",
            "Spearman's rank correlation of the same values, from -1 to 1. As `scipy.stats.spearmanr`, but 0 \
             where one side never varies.",
        )
    },
];

pub fn score(answer: &str, output: &str) -> Result<Scores, String> {
    let gold = number(answer).ok_or_else(|| format!("the gold `{answer}` is no number"))?;
    Ok(Scores::from([("gold", gold), ("predicted", number(output).unwrap_or(0.0))]))
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_counts_as_zero() {
        for (output, predicted) in [(" 3.5\n", 3.5), ("-1e-3", -0.001), ("3,5", 0.0), ("NaN", 0.0), ("", 0.0)]
        {
            assert_eq!(score("2.25", output).unwrap()["predicted"], predicted, "{output}");
        }
        assert_eq!(score("inf", "1").unwrap_err(), "the gold `inf` is no number");
    }
}
