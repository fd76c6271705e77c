//! Multiple choice over the facts of the world.

use super::draft::Draft;
use super::world::{Animal, Relation};
use crate::config::NluMix;
use crate::dice::Dice;
use crate::item::fields;

/// The four options, in order.
const LABELS: [&str; 4] = ["a", "b", "c", "d"];

/// A question, its options (the right one first) and its key.
struct Question {
    kind: &'static str,
    key: String,
    text: String,
    options: Vec<&'static str>,
}

/// A kind of question.
#[derive(Clone, Copy)]
pub enum Kind {
    Fact,
    Reverse,
    Two,
    Biggest,
}

/// Draws a kind of question.
pub fn plan(mix: &NluMix, dice: &mut Dice) -> Kind {
    [Kind::Fact, Kind::Reverse, Kind::Two, Kind::Biggest]
        [dice.weighted(&[mix.fact, mix.reverse, mix.two, mix.biggest])]
}

/// Draws one question, or none where the choice does not work out. `here` says whether a key belongs to the split.
pub fn draw(kind: Kind, here: &dyn Fn(&str) -> bool, dice: &mut Dice) -> Option<Draft> {
    let mut question = match kind {
        Kind::Fact => fact(dice),
        Kind::Reverse => reverse(here, dice)?,
        Kind::Two => two(dice)?,
        Kind::Biggest => biggest(dice),
    };
    let answer = question.options[0];
    dice.shuffle(&mut question.options);
    let mut fields = fields([
        ("kind", question.kind.to_owned()),
        ("question", question.text),
        ("answer", answer.to_owned()),
    ]);
    fields.extend(LABELS.iter().zip(question.options).map(|(label, o)| ((*label).to_owned(), o.to_owned())));
    Some(Draft { key: question.key, held_out: false, fields })
}

/// A property of an animal.
fn fact(dice: &mut Dice) -> Question {
    let animal = Animal(dice.below(super::world::ANIMALS.len()));
    let relation = dice.pick(&Relation::ALL);
    let name = animal.name();
    let text = match relation {
        Relation::Color => format!("what color is the {name}"),
        Relation::Home => format!("where does the {name} live"),
        Relation::Food => format!("what does the {name} eat"),
        Relation::Size => format!("how big is the {name}"),
    };
    let right = animal.value(relation);
    let others: Vec<_> = relation.values().iter().copied().filter(|value| *value != right).collect();
    let mut options = vec![right];
    options.extend(dice.sample(&others, 3));
    Question { kind: "fact", key: format!("fact/{}/{name}", relation.name()), text, options }
}

/// The animal with a property; no other option has it.
///
/// All four options are animals whose key for the relation belongs to the split. Were the wrong ones drawn from all,
/// training would show the right animals of the test as wrong ones only, and teach to avoid them.
fn reverse(here: &dyn Fn(&str) -> bool, dice: &mut Dice) -> Option<Question> {
    let relation = dice.pick(&Relation::ALL);
    let key = |animal: Animal| format!("reverse/{}/{}", relation.name(), animal.name());
    let known = animals(|animal| here(&key(animal)));
    let animal = *known.get(dice.below(known.len().max(1)))?;
    let others: Vec<_> =
        known.iter().copied().filter(|other| other.rank(relation) != animal.rank(relation)).collect();
    if others.len() < 3 {
        return None;
    }
    let mut options = vec![animal.name()];
    options.extend(dice.sample(&others, 3).into_iter().map(Animal::name));
    let text = format!("which animal {}", relation.clause(animal.value(relation)));
    Some(Question { kind: "reverse", key: key(animal), text, options })
}

/// The animal with two properties; one option shares the first only, one the second only, one none.
fn two(dice: &mut Dice) -> Option<Question> {
    let animal = Animal(dice.below(super::world::ANIMALS.len()));
    let pair = dice.sample(&Relation::ALL, 2);
    let same = |other: Animal, which: usize| other.rank(pair[which]) == animal.rank(pair[which]);
    let mut options = vec![animal.name()];
    for (first, second) in [(true, false), (false, true), (false, false)] {
        let fitting = animals(|other| same(other, 0) == first && same(other, 1) == second);
        if fitting.is_empty() {
            return None;
        }
        options.push(dice.pick(&fitting).name());
    }
    let mut names = [pair[0].name(), pair[1].name()];
    names.sort_unstable();
    Some(Question {
        kind: "two",
        key: format!("two/{}-{}/{}", names[0], names[1], animal.name()),
        text: format!(
            "which animal {} and {}",
            pair[0].clause(animal.value(pair[0])),
            pair[1].clause(animal.value(pair[1]))
        ),
        options,
    })
}

/// The biggest of four: a unique maximum.
fn biggest(dice: &mut Dice) -> Question {
    let animal = loop {
        let animal = Animal(dice.below(super::world::ANIMALS.len()));
        if animal.rank(Relation::Size) > 0 {
            break animal;
        }
    };
    let smaller = animals(|other| other.rank(Relation::Size) < animal.rank(Relation::Size));
    let mut options = vec![animal.name()];
    options.extend(dice.sample(&smaller, 3).into_iter().map(Animal::name));
    let mut set = options.clone();
    set.sort_unstable();
    Question {
        kind: "biggest",
        key: format!("biggest/{}", set.join("-")),
        text: "which animal is the biggest".to_owned(),
        options,
    }
}

fn animals(keep: impl Fn(Animal) -> bool) -> Vec<Animal> {
    Animal::all().into_iter().filter(|animal| keep(*animal)).collect()
}
