//! A number found in an answer against the right one.

use super::{Metric, Scores, fraction};
use crate::config::{Equality, NumberRule, Occurrence, Problem};
use regex::Regex;

pub const METRICS: &[Metric] =
    &[Metric::fraction("accuracy", "The number the rules find in the answer is the right one.")];

/// Compiled rules.
pub struct Judge<'a> {
    answer_rules: Vec<(Regex, &'a NumberRule)>,
    rules: Vec<(Regex, &'a NumberRule)>,
    equality: Equality,
}

impl<'a> Judge<'a> {
    pub fn new(answer_rules: &'a [NumberRule], rules: &'a [NumberRule], equality: Equality) -> Self {
        let compile = |rules: &'a [NumberRule]| {
            let pattern = |rule: &'a NumberRule| {
                (Regex::new(&rule.pattern).expect("patterns are checked when the file is parsed"), rule)
            };
            rules.iter().map(pattern).collect()
        };
        Self { answer_rules: compile(answer_rules), rules: compile(rules), equality }
    }

    #[expect(clippy::float_cmp, reason = "the rule is equality")]
    pub fn score(&self, answer: &str, output: &str) -> Result<Scores, String> {
        let gold = find(&self.answer_rules, answer)
            .ok_or_else(|| format!("no number is found in the gold `{answer}`"))?;
        let right = find(&self.rules, output).is_some_and(|found| match self.equality {
            Equality::Text => found == gold,
            Equality::Float => {
                matches!((found.parse::<f64>(), gold.parse::<f64>()), (Ok(a), Ok(b)) if a == b)
            }
        });
        Ok(Scores::from([("accuracy", fraction(right))]))
    }
}

fn find(rules: &[(Regex, &NumberRule)], text: &str) -> Option<String> {
    rules.iter().find_map(|(regex, rule)| {
        let mut matches = regex.captures_iter(text);
        let found = match rule.occurrence {
            Occurrence::First => matches.next(),
            Occurrence::Last => matches.last(),
        }?;
        let number = found.get(1).or_else(|| found.get(0))?.as_str();
        Some(number.chars().filter(|c| !rule.remove.contains(*c)).collect())
    })
}

pub fn check(answer_rules: &[NumberRule], rules: &[NumberRule]) -> Result<(), Problem> {
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

    fn rule(pattern: &str, occurrence: Occurrence) -> NumberRule {
        NumberRule { pattern: pattern.to_owned(), occurrence, remove: ",".to_owned() }
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
        let score = |equality| Judge::new(&rules, &rules, equality).score("21", "21.0").unwrap()["accuracy"];
        assert_eq!((score(Equality::Text), score(Equality::Float)), (0.0, 1.0));
        let broken = Judge::new(&rules, &rules, Equality::Float).score("1.2.3", "1.2.3").unwrap();
        assert_eq!(broken["accuracy"], 0.0, "what is no number equals nothing");
    }
}
