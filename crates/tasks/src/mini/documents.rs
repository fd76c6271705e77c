//! The kinds of documents.

mod facts;
mod lists;
mod numbers;
mod programs;
mod requests;
mod small_talk;

pub use facts::{fact, pick_clause};
pub use numbers::sum;
pub use programs::to_write;
pub use requests::{category_noun, is_a};
pub use small_talk::LINES;

use super::corpus::Kind;
use crate::dice::Dice;

/// Writes a document.
pub fn write(kind: Kind, dice: &mut Dice) -> String {
    let text = match kind {
        Kind::Facts => facts::facts(dice),
        Kind::TwoFacts => facts::two_facts(dice),
        Kind::Groups => facts::groups(dice),
        Kind::Compare => facts::compare(dice),
        Kind::Lists => lists::labelled(dice),
        Kind::Pick => lists::pick(dice),
        Kind::Copy => lists::copy(dice),
        Kind::Arithmetic => numbers::arithmetic(dice),
        Kind::Stories => numbers::story(dice),
        Kind::Recap => numbers::recap(dice),
        Kind::Verbal => numbers::verbal(dice),
        Kind::Programs => programs::program(dice),
        Kind::Glossary => programs::glossary(dice),
        Kind::Dialogues => requests::dialogue(dice),
        Kind::Needs => requests::needs_of_things(dice),
        Kind::Categories => requests::categories(dice),
        Kind::SmallTalk => dice.pick(&LINES).to_owned(),
    };
    format!(" {text}")
}
