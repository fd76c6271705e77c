//! What animals are like.

use crate::dice::Dice;
use crate::mini::world::{Animal, Relation};

/// One sentence about one property, in one of three phrasings.
pub fn fact(animal: Animal, relation: Relation, phrasing: usize) -> String {
    let (name, value) = (animal.name(), animal.value(relation));
    match (phrasing, relation) {
        (0, _) => format!("the {name} {} .", relation.clause(value)),
        (1, _) => format!("the {} of the {name} is {} .", relation.name(), place(relation, value)),
        (_, Relation::Food) => format!("{value} are the food of the {name} ."),
        (_, _) => format!("{} is the {} of the {name} .", place(relation, value), relation.name()),
    }
}

fn place(relation: Relation, value: &str) -> String {
    if relation == Relation::Home { format!("the {value}") } else { value.to_owned() }
}

/// Two to four sentences, each about another animal and property.
pub fn facts(dice: &mut Dice) -> String {
    let count = 2 + dice.below(3);
    let animals = dice.sample(&Animal::all(), count);
    let sentences: Vec<_> =
        animals.into_iter().map(|animal| fact(animal, dice.pick(&Relation::ALL), dice.below(3))).collect();
    sentences.join(" ")
}

/// Animals that have two properties.
pub fn two_facts(dice: &mut Dice) -> String {
    let sentences: Vec<_> = dice
        .sample(&Animal::all(), 2)
        .into_iter()
        .map(|animal| {
            let pair = dice.sample(&Relation::ALL, 2);
            let clauses = [0, 1].map(|which: usize| pair[which].clause(animal.value(pair[which])));
            let name = animal.name();
            match dice.below(3) {
                0 => format!("the {name} {} and {} .", clauses[0], clauses[1]),
                1 => format!("one animal that {} and {} is the {name} .", clauses[0], clauses[1]),
                _ => format!("the {name} {} . it also {} .", clauses[0], clauses[1]),
            }
        })
        .collect();
    sentences.join(" ")
}

/// Some animals with one property.
pub fn groups(dice: &mut Dice) -> String {
    let relation = dice.pick(&Relation::ALL);
    let rank = dice.below(relation.values().len());
    let mut names: Vec<_> =
        Animal::all().into_iter().filter(|a| a.rank(relation) == rank).map(Animal::name).collect();
    dice.shuffle(&mut names);
    names.truncate(2 + dice.below(3));
    let clause = match relation {
        Relation::Color | Relation::Size => format!("are {}", relation.values()[rank]),
        Relation::Home => format!("live in the {}", relation.values()[rank]),
        Relation::Food => format!("eat {}", relation.values()[rank]),
    };
    format!("animals that {clause} : {} .", names.join(" , "))
}

/// Which of two is bigger; nothing for equals.
fn bigger(first: Animal, second: Animal) -> Option<String> {
    let word = match first.rank(Relation::Size).cmp(&second.rank(Relation::Size)) {
        std::cmp::Ordering::Greater => "bigger",
        std::cmp::Ordering::Less => "smaller",
        std::cmp::Ordering::Equal => return None,
    };
    Some(format!("the {} is {word} than the {} .", first.name(), second.name()))
}

/// Sizes of two against each other, or of several in order.
pub fn compare(dice: &mut Dice) -> String {
    let mut animals = dice.sample(&Animal::all(), 5);
    animals.sort_by_key(|animal| animal.rank(Relation::Size));
    animals.dedup_by_key(|animal| animal.rank(Relation::Size));
    if animals.len() > 2 && dice.percent(40) {
        let names: Vec<_> = animals.iter().map(|animal| animal.name()).collect();
        let biggest = names[names.len() - 1];
        return format!("from small to big : {} . the biggest of them is the {biggest} .", names.join(" , "));
    }
    let animals = dice.sample(&Animal::all(), 6);
    let sentences: Vec<_> = animals.chunks(2).filter_map(|pair| bigger(pair[0], pair[1])).collect();
    if sentences.is_empty() { compare(dice) } else { sentences.join(" ") }
}

/// "the gray one", "the one that eats roots": an animal of a list by one property.
pub fn pick_clause(relation: Relation, value: &str) -> String {
    match relation {
        Relation::Color | Relation::Size => format!("the {value} one"),
        Relation::Home => format!("the one in the {value}"),
        Relation::Food => format!("the one that eats {value}"),
    }
}
