//! A query against the right one, as text.

use super::{Metric, Scores, fraction};

pub const METRICS: &[Metric] = &[Metric::fraction(
    "exact_match",
    "The answer is the gold query: outside quotes letters have no case and runs of white space are one space; a \
     semicolon at the end does not count.",
)];

pub fn score(answer: &str, output: &str) -> Scores {
    Scores::from([("exact_match", fraction(normalize(answer) == normalize(output)))])
}

fn normalize(query: &str) -> String {
    let query = query.trim_end_matches(|c: char| c.is_whitespace() || c == ';').trim_start();
    let mut normal = String::with_capacity(query.len());
    // A doubled quote inside quotes closes and opens them again: nothing needs to be known about it.
    let mut quote = None;
    for c in query.chars() {
        match quote {
            Some(open) => {
                normal.push(c);
                quote = quote.filter(|_| c != open);
            }
            None if c.is_whitespace() => {
                if !normal.ends_with(' ') {
                    normal.push(' ');
                }
            }
            None => {
                quote = matches!(c, '\'' | '"' | '`').then_some(c);
                normal.extend(c.to_lowercase());
            }
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_outside_quotes_is_free() {
        let gold = r#"SELECT name FROM t WHERE city = "New  York" AND note = 'it''s'"#;
        for (output, right) in [
            (r#" select NAME  from t where city = "New  York" and note = 'it''s' ;; "#, 1.0),
            ("select name\nfrom t where city = \"New  York\" and note = 'it''s';", 1.0),
            (r#"select name from t where city = "new  york" and note = 'it''s'"#, 0.0),
            (r#"select name from t where city = "New York" and note = 'it''s'"#, 0.0),
            ("select name from t where city = 'New  York' and note = 'it''s'", 0.0),
            ("select name from t", 0.0),
            ("", 0.0),
        ] {
            assert_eq!(score(gold, output)["exact_match"], right, "{output}");
        }
        assert_eq!(normalize("A 'x ' B"), "a 'x ' b", "quoted white space stays");
    }
}
