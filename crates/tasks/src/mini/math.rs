//! Word problems of several steps; the answer is the chain of results.

use super::draft::Draft;
use super::world::{NAMES, OBJECTS};
use crate::config::MathMix;
use crate::dice::Dice;
use crate::item::fields;
use std::fmt::Write as _;
use std::ops::RangeInclusive;

/// Every value in a problem.
pub const VALUES: RangeInclusive<i64> = 0..=60;
/// What a change adds or takes away: sums of two numbers of two digits are not taught.
pub const CHANGE: RangeInclusive<i64> = 2..=9;
/// Factors of a product.
pub const FACTOR: RangeInclusive<i64> = 2..=6;
/// A first value that is not a product.
pub const START: RangeInclusive<i64> = 5..=50;

/// What is asked in the end.
#[derive(Clone, Copy, PartialEq)]
enum Goal {
    /// How many the person has.
    Own,
    /// How many another has, who has some more or fewer.
    Compared,
    /// How many both have.
    Together,
}

/// Something that changes a person's amount by `k`, and the sign of the change.
pub fn happening(person: &str, other: &str, k: i64, dice: &mut Dice) -> (char, String) {
    match dice.below(8) {
        0 => ('+', format!("{person} finds {k} .")),
        1 => ('+', format!("{person} buys {k} more .")),
        2 => ('+', format!("{person} gets {k} from {other} .")),
        3 => ('+', format!("{other} gives {person} {k} more .")),
        4 => ('-', format!("{person} sells {k} .")),
        5 => ('-', format!("{person} loses {k} of them .")),
        6 => ('-', format!("{person} breaks {k} .")),
        _ => ('-', format!("{person} gives {k} to {other} .")),
    }
}

struct Problem<'a> {
    dice: &'a mut Dice,
    person: &'static str,
    other: &'static str,
    objects: &'static str,
    text: String,
    chain: Vec<String>,
    key: String,
    value: i64,
}

/// Draws a number of steps.
pub fn plan(mix: &MathMix, dice: &mut Dice) -> usize {
    dice.weighted(&mix.steps) + 1
}

/// Draws one problem of so many steps.
pub fn draw(steps: usize, mix: &MathMix, dice: &mut Dice) -> Draft {
    loop {
        if let Some(draft) = attempt(steps, mix, dice) {
            return draft;
        }
    }
}

/// One problem of so many steps, unless a choice does not fit or a value leaves [`VALUES`].
fn attempt(steps: usize, mix: &MathMix, dice: &mut Dice) -> Option<Draft> {
    let goal =
        [Goal::Own, Goal::Compared, Goal::Together][dice.weighted(&[mix.own, mix.compared, mix.together])];
    let boxes = dice.percent(mix.boxes);
    // At least one change of the first amount, so that every problem has a course of events.
    let changes = steps.checked_sub(usize::from(boxes) + usize::from(goal != Goal::Own))?;
    if changes == 0 && steps > 1 {
        return None;
    }
    let people = dice.sample(&NAMES, 3);
    let objects = dice.sample(&OBJECTS, 2);
    let mut problem = Problem {
        dice,
        person: people[0],
        other: people[1],
        objects: objects[0],
        text: String::new(),
        chain: Vec::new(),
        key: String::new(),
        value: 0,
    };
    problem.start(boxes);
    let distract = problem.dice.percent(mix.distractor).then(|| problem.dice.below(changes + 1));
    for change in 0..changes {
        if distract == Some(change) {
            problem.distract(people[2], objects[1]);
        }
        problem.change()?;
    }
    if distract == Some(changes) {
        problem.distract(people[2], objects[1]);
    }
    let question = problem.finish(goal)?;
    let answer = problem.value;
    Some(Draft {
        held_out: false,
        fields: fields([
            ("steps", steps.to_string()),
            ("problem", format!("{} {question}", problem.text)),
            ("solution", problem.chain.join(" ; ")),
            ("answer", answer.to_string()),
        ]),
        key: problem.key,
    })
}

impl Problem<'_> {
    fn start(&mut self, boxes: bool) {
        let (person, objects) = (self.person, self.objects);
        if boxes {
            let (count, each) = (self.dice.range(FACTOR), self.dice.range(FACTOR));
            self.value = count;
            self.text = format!("{person} has {count} boxes with {each} {objects} each .");
            self.key = format!("{count} boxes");
            self.step('*', each).expect("a product of two factors is in range");
        } else {
            self.value = self.dice.range(START);
            self.text = format!("{person} has {} {objects} .", self.value);
            self.key = self.value.to_string();
        }
    }

    /// One thing happens to the person's amount.
    fn change(&mut self) -> Option<()> {
        let k = self.dice.range(CHANGE);
        let (sign, sentence) = happening(self.person, self.other, k, self.dice);
        write!(self.text, " {sentence}").expect("writing to a string");
        self.step(sign, k)
    }

    /// A sentence that does not matter.
    fn distract(&mut self, someone: &str, things: &str) {
        let k = self.dice.range(CHANGE);
        let who = if self.dice.percent(50) { someone } else { self.person };
        write!(self.text, " {who} also has {k} {things} .").expect("writing to a string");
    }

    /// The last step and the question.
    fn finish(&mut self, goal: Goal) -> Option<String> {
        let (person, other, objects) = (self.person, self.other, self.objects);
        let k = self.dice.range(CHANGE);
        match goal {
            Goal::Own => Some(format!("how many {objects} does {person} have ?")),
            Goal::Compared => {
                let (sign, word) = if self.dice.percent(50) { ('+', "more") } else { ('-', "fewer") };
                write!(self.text, " {other} has {k} {word} than {person} .").expect("writing to a string");
                self.key.push_str(" compared");
                self.step(sign, k)?;
                Some(format!("how many {objects} does {other} have ?"))
            }
            Goal::Together => {
                write!(self.text, " {other} has {k} {objects} .").expect("writing to a string");
                self.key.push_str(" together");
                self.step('+', k)?;
                Some(format!("how many {objects} do they have together ?"))
            }
        }
    }

    fn step(&mut self, sign: char, k: i64) -> Option<()> {
        let before = self.value;
        self.value = match sign {
            '+' => before + k,
            '-' => before - k,
            _ => before * k,
        };
        write!(self.key, " {sign} {k}").expect("writing to a string");
        self.chain.push(format!("{before} {sign} {k} = {}", self.value));
        VALUES.contains(&self.value).then_some(())
    }
}
