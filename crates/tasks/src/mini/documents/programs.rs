//! Programs of the small language: what they print, and what their statements mean.

use crate::dice::Dice;
use crate::mini::math::VALUES;
use crate::mini::phrase;
use crate::program::{Program, Statement};

/// Percent of statements in documents that are a loop around a condition.
const NESTED: u32 = 6;

fn statement(dice: &mut Dice) -> Statement {
    let nested = dice.percent(NESTED);
    phrase::statement(dice, nested)
}

/// A program from a known start, with its result or with every value on the way.
pub fn program(dice: &mut Dice) -> String {
    loop {
        let start = dice.range(0..=30);
        let statements: Vec<_> = (0..=dice.below(3)).map(|_| statement(dice)).collect();
        let mut values = vec![start];
        for statement in &statements {
            let x = *values.last().expect("there is a start");
            let one = Program(vec![statement.clone()]);
            values.push(one.run(x, 100).expect("a short program on a small number ends"));
        }
        if !values.iter().all(|value| VALUES.contains(value)) {
            continue;
        }
        if dice.percent(75) {
            let steps: Vec<_> =
                statements.iter().zip(&values[1..]).map(|(s, v)| format!("{s} gives {v}")).collect();
            return format!("x = {start} ; {} .", steps.join(" ; "));
        }
        let result = values.last().expect("there is a start");
        return format!("x = {start} ; {} ; print x . out {result} .", Program(statements));
    }
}

/// "x = x + 5 means add 5 ."
fn means(statement: &Statement, dice: &mut Dice) -> String {
    format!("{statement} means {} .", phrase::say(statement, dice))
}

/// "to add 5 write x = x + 5 ."
pub fn to_write(statement: &Statement, dice: &mut Dice) -> String {
    format!("to {} write {statement} .", phrase::say(statement, dice))
}

/// "to add 5 and after that double it write x = x + 5 ; x = x * 2 ."
fn two_to_write(dice: &mut Dice) -> String {
    let [first, second] = [statement(dice), statement(dice)];
    let said = format!("{} and after that {}", phrase::say(&first, dice), phrase::say(&second, dice));
    format!("to {said} write {} .", Program(vec![first, second]))
}

/// Two statements and what they mean, mostly one at a time.
pub fn glossary(dice: &mut Dice) -> String {
    if dice.percent(30) {
        return two_to_write(dice);
    }
    let sentences: Vec<_> = (0..2)
        .map(|_| {
            let statement = statement(dice);
            if dice.percent(35) { means(&statement, dice) } else { to_write(&statement, dice) }
        })
        .collect();
    sentences.join(" ")
}
