//! Descriptions of small programs; the answer is a program that does the same.

use super::draft::Draft;
use super::phrase;
use crate::config::CodeMix;
use crate::dice::Dice;
use crate::item::fields;
use crate::program::{Program, Statement};

/// Draws a number of statements.
pub fn plan(mix: &CodeMix, dice: &mut Dice) -> usize {
    dice.weighted(&mix.statements) + 1
}

/// Draws one description of a program of so many statements.
pub fn draw(count: usize, mix: &CodeMix, dice: &mut Dice) -> Draft {
    let statements = loop {
        let drawn: Vec<_> = (0..count)
            .map(|_| {
                let nested = dice.percent(mix.nested);
                phrase::statement(dice, nested)
            })
            .collect();
        if every_statement_matters(&drawn) {
            break drawn;
        }
    };
    let said: Vec<_> = statements.iter().map(|statement| phrase::say(statement, dice)).collect();
    let program = Program(statements).to_string();
    Draft {
        held_out: false,
        fields: fields([
            ("statements", count.to_string()),
            ("task", join(&said, mix.reversed, dice)),
            ("program", program.clone()),
        ]),
        key: program,
    }
}

/// Whether leaving out any one statement changes what the program does: else a wrong answer could pass.
fn every_statement_matters(statements: &[Statement]) -> bool {
    let results = |program: &Program| {
        let run = |x| program.run(x, 1000).expect("a short program on a small number ends");
        (-20..=60).step_by(4).map(run).collect::<Vec<_>>()
    };
    let whole = results(&Program(statements.to_vec()));
    (0..statements.len()).all(|left_out| {
        let mut rest = statements.to_vec();
        rest.remove(left_out);
        results(&Program(rest)) != whole
    })
}

/// Puts the parts of a description into one sentence.
fn join(said: &[String], reversed: u32, dice: &mut Dice) -> String {
    if let [rest @ .., before, last] = said
        && dice.percent(reversed)
    {
        let mut parts = rest.to_vec();
        parts.push(format!("{last} , but before that {before}"));
        return parts.join(" , then ");
    }
    if said.len() > 1 && dice.percent(50) {
        return format!("first {}", said.join(" , next "));
    }
    said.join(" , then ")
}
