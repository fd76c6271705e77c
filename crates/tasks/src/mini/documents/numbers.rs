//! Arithmetic, plain and told.

use crate::dice::Dice;
use crate::mini::math::{CHANGE, FACTOR, START, VALUES, happening};
use crate::mini::world::{NAMES, OBJECTS};

/// One true statement, with its result.
pub fn sum(dice: &mut Dice) -> (String, i64) {
    if dice.percent(25) {
        let (a, b) = (dice.range(FACTOR), dice.range(FACTOR));
        return (format!("{a} * {b}"), a * b);
    }
    loop {
        let (a, k) = (dice.range(VALUES), dice.range(1..=9));
        let (sign, result) = if dice.percent(50) { ('+', a + k) } else { ('-', a - k) };
        if VALUES.contains(&result) {
            return (format!("{a} {sign} {k}"), result);
        }
    }
}

/// Several statements, each starting where the last ended or anew.
pub fn arithmetic(dice: &mut Dice) -> String {
    let count = 2 + dice.below(3);
    let mut parts: Vec<String> = Vec::new();
    let mut last = None;
    while parts.len() < count {
        let Some(a) = last.filter(|_| dice.percent(70)) else {
            let (text, result) = sum(dice);
            parts.push(format!("{text} = {result}"));
            last = Some(result);
            continue;
        };
        let k = dice.range(1..=9);
        let (sign, result) = if dice.percent(50) { ('+', a + k) } else { ('-', a - k) };
        if VALUES.contains(&result) {
            parts.push(format!("{a} {sign} {k} = {result}"));
            last = Some(result);
        }
    }
    format!("{} .", parts.join(" ; "))
}

/// Who has how many; every result is stated.
pub fn story(dice: &mut Dice) -> String {
    loop {
        if let Some(text) = tell(dice) {
            return text;
        }
    }
}

fn tell(dice: &mut Dice) -> Option<String> {
    let people = dice.sample(&NAMES, 2);
    let (person, other) = (people[0], people[1]);
    let objects = dice.pick(&OBJECTS);
    let mut value;
    let mut sentences = Vec::new();
    if dice.percent(35) {
        let (count, each) = (dice.range(FACTOR), dice.range(FACTOR));
        value = count * each;
        sentences.push(if dice.percent(50) {
            format!("{person} has {count} boxes of {each} {objects} . that is {value} {objects} .")
        } else {
            format!("{person} has {count} boxes with {each} {objects} each . that is {value} {objects} .")
        });
    } else {
        value = dice.range(START);
        sentences.push(format!("{person} has {value} {objects} ."));
    }
    for _ in 0..=dice.below(2) {
        if dice.percent(10) {
            let (k, things) = (dice.range(CHANGE), dice.pick(&OBJECTS));
            sentences.push(format!("{other} also has {k} {things} ."));
            continue;
        }
        let k = dice.range(CHANGE);
        let (sign, sentence) = happening(person, other, k, dice);
        value += if sign == '+' { k } else { -k };
        sentences.push(format!("{sentence} now {person} has {value} {objects} ."));
        VALUES.contains(&value).then_some(())?;
    }
    let k = dice.range(CHANGE);
    match dice.below(4) {
        0 => {
            sentences
                .push(format!("{other} has {k} {objects} . together they have {} {objects} .", value + k));
            value += k;
        }
        1 => {
            value += k;
            sentences.push(format!("{other} has {k} more than {person} . {other} has {value} {objects} ."));
        }
        2 => {
            value -= k;
            sentences.push(format!("{other} has {k} fewer than {person} . {other} has {value} {objects} ."));
        }
        _ => {}
    }
    VALUES.contains(&value).then(|| sentences.join(" "))
}

/// What happens to somebody's things, and after it what that comes to.
pub fn recap(dice: &mut Dice) -> String {
    loop {
        if let Some(text) = sum_up(dice) {
            return text;
        }
    }
}

fn sum_up(dice: &mut Dice) -> Option<String> {
    let people = dice.sample(&NAMES, 2);
    let (person, other) = (people[0], people[1]);
    let objects = dice.pick(&OBJECTS);
    let mut terms;
    let mut values;
    let mut sentences = Vec::new();
    if dice.percent(30) {
        let (count, each) = (dice.range(FACTOR), dice.range(FACTOR));
        terms = format!("{count} * {each}");
        values = vec![count * each];
        sentences.push(format!("{person} has {count} boxes with {each} {objects} each ."));
    } else {
        let start = dice.range(START);
        terms = start.to_string();
        values = vec![start];
        sentences.push(format!("{person} has {start} {objects} ."));
    }
    for _ in 0..=dice.below(3) {
        if dice.percent(15) {
            let (who, k, things) = (dice.pick(&people), dice.range(CHANGE), dice.pick(&OBJECTS));
            sentences.push(format!("{who} also has {k} {things} ."));
        }
        let k = dice.range(CHANGE);
        let (sign, sentence) = happening(person, other, k, dice);
        let value = values[values.len() - 1] + if sign == '+' { k } else { -k };
        VALUES.contains(&value).then_some(())?;
        terms = format!("{terms} {sign} {k}");
        values.push(value);
        sentences.push(sentence);
    }
    sentences.push(if dice.percent(60) {
        format!("in short : {terms} .")
    } else {
        let values: Vec<_> = values.iter().map(ToString::to_string).collect();
        format!("so {person} had {} .", values.join(" , then "))
    });
    Some(sentences.join(" "))
}

/// Changes and bounds in words, with results.
pub fn verbal(dice: &mut Dice) -> String {
    let sentences: Vec<_> = (0..2)
        .map(|_| {
            let (a, k, bound) = (dice.range(5..=50), dice.range(CHANGE), dice.range(5..=30));
            match dice.below(6) {
                0 => format!("increase {a} by {k} and it is {} .", a + k),
                1 => format!("decrease {} by {k} and it is {a} .", a + k),
                2 => format!("{a} raised to at least {bound} is {} .", a.max(bound)),
                3 => format!("{a} lowered to at most {bound} is {} .", a.min(bound)),
                4 if a > bound => format!("{a} is above {bound} ."),
                4 => format!("{a} is not above {bound} ."),
                _ if a < bound => format!("{a} is below {bound} ."),
                _ => format!("{a} is not below {bound} ."),
            }
        })
        .collect();
    sentences.join(" ")
}
