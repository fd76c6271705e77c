//! One of several classes.

use super::{Aggregate, Metric, Scores, fraction};
use crate::config::Problem;

pub const METRICS: &[Metric] = &[
    Metric::fraction(
        "accuracy",
        "The answer, but for white space at its ends, is the name of the right class.",
    ),
    Metric {
        aggregate: Aggregate::Matthews,
        ..Metric::fraction(
            "matthews",
            "Matthews' correlation of the right and the answered classes, from -1 to 1; an answer that names no class \
             counts as a class of its own. As `sklearn.metrics.matthews_corrcoef`.",
        )
    },
    Metric {
        aggregate: Aggregate::F1,
        ..Metric::fraction(
            "f1",
            "F1 of the second of two classes; an answer that names no class does not name the second. As \
             `sklearn.metrics.f1_score`.",
        )
    },
];

pub fn score(classes: &[String], answer: &str, output: &str) -> Result<Scores, String> {
    let index = |text: &str| classes.iter().position(|class| class.trim() == text.trim());
    let gold = index(answer).ok_or_else(|| format!("the gold `{answer}` is none of the classes"))?;
    let predicted = index(output);
    Ok(Scores::from([
        ("accuracy", fraction(predicted == Some(gold))),
        ("gold", gold as f64),
        ("predicted", predicted.map_or(-1.0, |index| index as f64)),
    ]))
}

pub fn check(classes: &[String], with_f1: bool) -> Result<(), Problem> {
    let repeated =
        |(at, class): (usize, &String)| classes[..at].iter().any(|other| other.trim() == class.trim());
    if classes.len() < 2 || classes.iter().any(|class| class.trim().is_empty()) {
        return Err(Problem::new("classes", "`classes` needs at least two names, and none may be empty"));
    }
    if let Some((_, class)) = classes.iter().enumerate().find(|(at, class)| repeated((*at, class))) {
        return Err(Problem::new("classes", format!("`classes` names `{class}` twice")));
    }
    if with_f1 && classes.len() != 2 {
        let reason =
            format!("metric `f1` is that of the second of two classes, and there are {}", classes.len());
        return Err(Problem::new("\"f1\"", reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_names_no_class_is_wrong() {
        let classes = ["no".to_owned(), "yes".to_owned()];
        for (output, predicted) in
            [(" yes\n", 1.0), ("no", 0.0), ("Yes", -1.0), ("yes sir", -1.0), ("", -1.0)]
        {
            let scores = score(&classes, "yes", output).unwrap();
            assert_eq!((scores["gold"], scores["predicted"]), (1.0, predicted), "{output}");
            assert_eq!(scores["accuracy"], fraction(predicted == 1.0), "{output}");
        }
        assert_eq!(score(&classes, "maybe", "").unwrap_err(), "the gold `maybe` is none of the classes");
    }
}
