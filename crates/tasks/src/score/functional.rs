//! A function call with bracketed slots, as ViGGO's meaning representations are:
//! `give_opinion(name[SpellForce 3], genres[role-playing, strategy])`.

use super::words::squeeze;
use super::{Metric, Scores, fraction};
use std::collections::{BTreeMap, BTreeSet};

pub const METRICS: &[Metric] = &[
    Metric::fraction("exact_match", "The answer is the gold call; runs of white space count as one space."),
    Metric::fraction("function_match", "The function's name is right."),
    Metric::fraction("slot_names_match", "The set of slot names is right, in any order."),
    Metric::fraction(
        "slots_match",
        "Function, slot names and the set of values of every slot are right, in any order.",
    ),
];

#[derive(Debug, PartialEq, Eq)]
struct Call<'a> {
    function: &'a str,
    slots: BTreeMap<&'a str, BTreeSet<String>>,
}

pub fn score(answer: &str, output: &str) -> Result<Scores, String> {
    let gold = parse(answer).ok_or_else(|| format!("the gold `{answer}` is no function call"))?;
    let said = parse(output);
    let agree = |same: &dyn Fn(&Call<'_>) -> bool| fraction(said.as_ref().is_some_and(same));
    Ok(Scores::from([
        ("exact_match", fraction(squeeze(answer) == squeeze(output))),
        ("function_match", agree(&|said| said.function == gold.function)),
        ("slot_names_match", agree(&|said| said.slots.keys().eq(gold.slots.keys()))),
        ("slots_match", agree(&|said| *said == gold)),
    ]))
}

/// `name(slot[value, value], slot[])`; none for anything else, and for a slot that occurs twice.
fn parse(text: &str) -> Option<Call<'_>> {
    let (function, rest) = text.trim().split_once('(')?;
    let mut rest = rest.strip_suffix(')')?.trim();
    let mut slots = BTreeMap::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('[')?;
        let (values, after) = after.split_once(']')?;
        let values = values.split(',').map(squeeze).filter(|value| !value.is_empty()).collect();
        if slots.insert(name.trim(), values).is_some() {
            return None;
        }
        rest = after.trim_start();
        if !rest.is_empty() {
            rest = rest.strip_prefix(',')?.trim_start();
        }
    }
    Some(Call { function: function.trim(), slots })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLD: &str =
        "inform(name[Dirt: Showdown], esrb[E 10+ (for Everyone 10 and Older)], genres[racing, sport])";

    fn judge(output: &str) -> [f64; 4] {
        let scores = score(GOLD, output).unwrap();
        ["exact_match", "function_match", "slot_names_match", "slots_match"].map(|name| scores[name])
    }

    #[test]
    fn each_metric_forgives_less_than_the_next() {
        assert_eq!(judge(GOLD), [1.0, 1.0, 1.0, 1.0]);
        assert_eq!(judge(&GOLD.replace(", ", " ,  ")), [0.0, 1.0, 1.0, 1.0]);
        assert_eq!(judge(&format!("\n {}", GOLD.replace(' ', "  "))), [1.0, 1.0, 1.0, 1.0]);
        let turned =
            "inform(genres[sport, racing], name[Dirt: Showdown], esrb[E 10+ (for Everyone 10 and Older)])";
        assert_eq!(judge(turned), [0.0, 1.0, 1.0, 1.0]);
        assert_eq!(judge(&GOLD.replace("sport", "strategy")), [0.0, 1.0, 1.0, 0.0]);
        assert_eq!(judge("inform(name[Dirt: Showdown])"), [0.0, 1.0, 0.0, 0.0]);
        assert_eq!(judge(&GOLD.replace("inform", "confirm")), [0.0, 0.0, 1.0, 0.0]);
        assert_eq!(judge("Dirt: Showdown is a racing game."), [0.0; 4]);
    }

    #[test]
    fn what_is_no_call_is_no_call() {
        for text in ["", "inform", "inform(", "inform(name[x)", "inform(name[x] year[1])", "f(a[1], a[2])"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("request()").unwrap().slots.len(), 0);
    }
}
