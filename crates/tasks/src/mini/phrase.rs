//! How statements of the small language are said.

use crate::dice::Dice;
use crate::program::Statement;

/// Names of the counts a loop runs, from two.
const TIMES: [&str; 3] = ["two", "three", "four"];

/// How often each kind of statement is drawn.
const KINDS: [u32; 7] = [5, 5, 4, 4, 4, 4, 4];

/// Draws a statement; `nested` loops have a condition inside.
pub fn statement(dice: &mut Dice, nested: bool) -> Statement {
    if nested {
        let body = Statement::IfAbove(dice.range(5..=30), Box::new(change(dice)));
        return Statement::Loop(dice.range(2..=4), Box::new(body));
    }
    match dice.weighted(&KINDS) {
        0 => Statement::Add(dice.range(2..=9)),
        1 => Statement::Subtract(dice.range(2..=9)),
        2 => Statement::Multiply(dice.range(2..=4)),
        3 => Statement::AtLeast(dice.range(5..=30)),
        4 => Statement::AtMost(dice.range(5..=30)),
        5 => Statement::IfAbove(dice.range(5..=30), Box::new(change(dice))),
        _ => Statement::Loop(dice.range(2..=4), Box::new(change(dice))),
    }
}

fn change(dice: &mut Dice) -> Statement {
    let k = dice.range(2..=9);
    if dice.percent(50) { Statement::Add(k) } else { Statement::Subtract(k) }
}

/// Says what a statement does, in one of two or three ways.
pub fn say(statement: &Statement, dice: &mut Dice) -> String {
    let first = dice.percent(50);
    match statement {
        Statement::Set(k) => format!("start with {k}"),
        Statement::Add(k) if first => format!("add {k}"),
        Statement::Add(k) => format!("go up by {k}"),
        Statement::Subtract(k) if first => format!("take away {k}"),
        Statement::Subtract(k) => format!("subtract {k}"),
        Statement::Multiply(2) if first => "double it".to_owned(),
        Statement::Multiply(k) => format!("multiply by {k}"),
        Statement::AtLeast(k) if first => format!("raise it to {k} if it is below"),
        Statement::AtLeast(k) => format!("make it at least {k}"),
        Statement::AtMost(k) if first => format!("lower it to {k} if it is above"),
        Statement::AtMost(k) => format!("make it at most {k}"),
        Statement::IfAbove(k, body) if first => format!("{} when it is above {k}", say(body, dice)),
        Statement::IfAbove(k, body) => format!("if above {k} {}", say(body, dice)),
        Statement::Loop(n, body) => {
            let times = TIMES[usize::try_from(n - 2).expect("loops run two times or more")];
            // Before a condition the count comes first: "... when it is above 9 two times" would be ambiguous.
            if first && !matches!(**body, Statement::IfAbove(..)) {
                format!("{} {times} times", say(body, dice))
            } else {
                format!("{times} times {}", say(body, dice))
            }
        }
    }
}
