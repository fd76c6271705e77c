//! Lists: what stands where, which one fits, and saying them again.

use super::facts::pick_clause;
use crate::dice::Dice;
use crate::mini::world::{ANIMALS, Animal, OBJECTS, Relation};

const LABELS: [&str; 4] = ["A", "B", "C", "D"];

/// A list with labels, and which thing stands at two of them.
pub fn labelled(dice: &mut Dice) -> String {
    let relation = dice.pick(&Relation::ALL);
    let words: Vec<&str> = match dice.below(3) {
        0 => dice.sample(&ANIMALS, 4),
        1 => dice.sample(&OBJECTS, 4),
        _ => dice.sample(relation.values(), 4),
    };
    let list: Vec<_> = LABELS.iter().zip(&words).map(|(label, word)| format!("{label} {word}")).collect();
    let asked = dice.sample(&[0, 1, 2, 3], 2);
    let first = format!("{} is {} .", LABELS[asked[0]], words[asked[0]]);
    let second = format!("{} is {} .", words[asked[1]], LABELS[asked[1]]);
    format!("list : {} . {first} {second}", list.join(" "))
}

/// A list of animals, and the one that fits a description no other one fits.
pub fn pick(dice: &mut Dice) -> String {
    loop {
        let animals = dice.sample(&Animal::all(), 4);
        let right = animals[dice.below(4)];
        let fits_alone = |same: &dyn Fn(Animal) -> bool| animals.iter().filter(|a| same(**a)).count() == 1;
        let description = match dice.below(5) {
            0 => {
                let largest = |a: Animal| a.rank(Relation::Size) >= right.rank(Relation::Size);
                fits_alone(&largest).then(|| "the biggest one".to_owned())
            }
            1 | 2 => {
                let pair = dice.sample(&Relation::ALL, 2);
                let both = |a: Animal| pair.iter().all(|relation| a.rank(*relation) == right.rank(*relation));
                fits_alone(&both).then(|| {
                    let clause = |which: usize| pair[which].clause(right.value(pair[which]));
                    format!("the one that {} and {}", clause(0), clause(1))
                })
            }
            _ => {
                let relation = dice.pick(&Relation::ALL);
                fits_alone(&|a| a.rank(relation) == right.rank(relation))
                    .then(|| pick_clause(relation, right.value(relation)))
            }
        };
        if let Some(description) = description {
            let list: Vec<_> = animals.iter().map(|animal| format!("the {}", animal.name())).collect();
            return format!("here are {} . {description} is the {} .", list.join(" , "), right.name());
        }
    }
}

/// A sequence said again, as it was or in the order the words ask for.
pub fn copy(dice: &mut Dice) -> String {
    if dice.percent(40) {
        let words = dice.sample(&ANIMALS, 3);
        let numbers: Vec<_> = (0..3).map(|_| dice.range(0..=60)).collect();
        let sequence: Vec<_> =
            words.iter().zip(&numbers).map(|(word, number)| format!("{word} {number}")).collect();
        let sequence = sequence.join(" ");
        return format!("say {sequence} . again {sequence} .");
    }
    let count = 2 + dice.below(3);
    let words = dice.sample(&[&ANIMALS[..], &OBJECTS].concat(), count);
    let plan = match dice.below(3) {
        0 => words.join(" , then "),
        1 => format!("first {}", words.join(" , next ")),
        _ => {
            let mut parts = words.clone();
            let last = parts.pop().expect("there are two or more");
            let before = parts.pop().expect("there are two or more");
            let turned = format!("{last} , but before that {before}");
            parts.into_iter().chain([turned.as_str()]).collect::<Vec<_>>().join(" , then ")
        }
    };
    format!("say {plan} . so {} .", words.join(" "))
}
