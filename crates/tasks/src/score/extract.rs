//! What rules find in an answer, a number or an option, against what they find in the right one.

use super::{Metric, Scores, fraction};
use crate::config::{Equality, ExtractRule, Occurrence, Problem};
use regex::Regex;

pub const METRICS: &[Metric] =
    &[Metric::fraction("accuracy", "What the rules find in the answer is the right one.")];

/// Compiled rules.
pub struct Judge<'a> {
    answer_rules: Vec<(Regex, &'a ExtractRule)>,
    rules: Vec<(Regex, &'a ExtractRule)>,
    equality: Equality,
}

impl<'a> Judge<'a> {
    pub fn new(answer_rules: &'a [ExtractRule], rules: &'a [ExtractRule], equality: Equality) -> Self {
        let compile = |rules: &'a [ExtractRule]| {
            let pattern = |rule: &'a ExtractRule| {
                (Regex::new(&rule.pattern).expect("patterns are checked when the file is parsed"), rule)
            };
            rules.iter().map(pattern).collect()
        };
        Self { answer_rules: compile(answer_rules), rules: compile(rules), equality }
    }

    pub fn score(&self, answer: &str, output: &str) -> Result<Scores, String> {
        let gold = find(&self.answer_rules, answer)
            .ok_or_else(|| format!("the rules find nothing in the gold `{answer}`"))?;
        let right = find(&self.rules, output).is_some_and(|found| same(self.equality, &found, &gold));
        Ok(Scores::from([("accuracy", fraction(right))]))
    }
}

fn same(equality: Equality, found: &str, gold: &str) -> bool {
    let numbers = || Some((found.parse::<f64>().ok()?, gold.parse::<f64>().ok()?));
    match equality {
        Equality::Text => found == gold,
        Equality::Folded => found.trim().to_lowercase() == gold.trim().to_lowercase(),
        Equality::Float => numbers().is_some_and(|(found, gold)| found == gold),
        Equality::Close(tolerance) => {
            numbers().is_some_and(|(found, gold)| (found - gold).abs() <= tolerance)
        }
    }
}

fn find(rules: &[(Regex, &ExtractRule)], text: &str) -> Option<String> {
    rules.iter().find_map(|(regex, rule)| {
        let mut matches = regex.captures_iter(text);
        let found = match rule.occurrence {
            Occurrence::First => matches.next(),
            Occurrence::Last => matches.last(),
        }?;
        let text = found.get(1).or_else(|| found.get(0))?.as_str();
        Some(text.chars().filter(|c| !rule.remove.contains(*c)).collect())
    })
}

pub fn check(answer_rules: &[ExtractRule], rules: &[ExtractRule], equality: Equality) -> Result<(), Problem> {
    if let Equality::Close(tolerance) = equality
        && !(tolerance.is_finite() && tolerance >= 0.0)
    {
        let reason =
            format!("`close` is the largest difference of two equal numbers and cannot be {tolerance}");
        return Err(Problem::new("close", reason));
    }
    if answer_rules.is_empty() || rules.is_empty() {
        return Err(Problem::new("rules", "`rules` and `answer_rules` need a rule each"));
    }
    for rule in answer_rules.iter().chain(rules) {
        if let Err(error) = Regex::new(&rule.pattern) {
            return Err(Problem::new(&rule.pattern, format!("`pattern`: {error}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, occurrence: Occurrence) -> ExtractRule {
        ExtractRule { pattern: pattern.to_owned(), occurrence, remove: ",".to_owned() }
    }

    #[test]
    fn rules_are_tried_in_order() {
        let gold = [rule(r"#### (-?[0-9.,]+)", Occurrence::First)];
        let rules = [rule(r"#### (-?[0-9.,]+)", Occurrence::First), rule(r"-?[0-9]+", Occurrence::Last)];
        let judge = Judge::new(&gold, &rules, Equality::Text);
        let score = |output| judge.score("It is 1,234.\n#### 1,234", output).unwrap()["accuracy"];
        assert_eq!(score("#### 1234 or 7"), 1.0);
        assert_eq!(score("#### 1,234"), 1.0);
        assert_eq!(score("so 12 or 1234"), 1.0);
        assert_eq!(score("so 1234 or 12"), 0.0);
        assert_eq!(score("nothing"), 0.0);
        assert!(judge.score("no gold", "#### 1").is_err());
    }

    #[test]
    fn equality_is_what_the_file_says() {
        let rules = [rule(r"[0-9.]+", Occurrence::First)];
        let score =
            |equality, output| Judge::new(&rules, &rules, equality).score("21", output).unwrap()["accuracy"];
        assert_eq!((score(Equality::Text, "21.0"), score(Equality::Float, "21.0")), (0.0, 1.0));
        assert_eq!((score(Equality::Float, "21.001"), score(Equality::Close(0.01), "21.001")), (0.0, 1.0));
        assert_eq!((score(Equality::Close(0.01), "21.02"), score(Equality::Close(0.0), "21.0")), (0.0, 1.0));
        let broken = Judge::new(&rules, &rules, Equality::Float).score("1.2.3", "1.2.3").unwrap();
        assert_eq!(broken["accuracy"], 0.0, "what is no number equals nothing");
        let words = [rule(r"(?i)answer is (\w+)", Occurrence::Last)];
        let folded = Judge::new(&words, &words, Equality::Folded);
        assert_eq!(folded.score("The answer is B", "the answer is b").unwrap()["accuracy"], 1.0);
    }
}
