//! What things need, how one asks for it, and what kind of thing a thing is.

use crate::dice::Dice;
use crate::mini::world::{
    ADJECTIVES, Category, DRINKS, HARMLESS_ADJECTIVES, HARMS, HELPS, PLACES, person, use_phrase,
};

/// How people of dialogues ask. Other ways than the task's, save for the plainest.
const ASKED: [&str; 5] = [
    "how do i {} ?",
    "how does one {} ?",
    "i would like to {} .",
    "what helps to {} ?",
    "do you know how to {} ?",
];

/// How they are told.
const TOLD: [&str; 3] = ["to {} {use} .", "you can {use} to {} .", "{use} to {} ."];

/// Something one can do, and what one uses for it: everything is answered.
fn deed(dice: &mut Dice) -> (String, String) {
    let noun = |category: Category, dice: &mut Dice| dice.below(category.nouns().len());
    match dice.below(6) {
        0 | 1 => {
            let category = dice.pick(&[Category::Dangerous, Category::Safe]);
            let what = noun(category, dice);
            let adjective = if category == Category::Dangerous && dice.percent(30) {
                dice.pick(&HARMLESS_ADJECTIVES)
            } else {
                dice.pick(&ADJECTIVES)
            };
            (format!("make a {adjective}{}", category.nouns()[what]), use_phrase(category, what))
        }
        2 | 3 => {
            let category = dice.pick(&[Category::Toxin, Category::Food]);
            let what = noun(category, dice);
            let text = category.nouns()[what];
            let place = if dice.percent(50) {
                let whose = noun(Category::Person, dice);
                format!("{} of {}", dice.pick(&DRINKS), person(whose))
            } else {
                dice.pick(&PLACES).to_owned()
            };
            (format!("put {text} in the {place}"), use_phrase(category, what))
        }
        4 => {
            let whom = noun(Category::Person, dice);
            let verb = if dice.percent(50) { dice.pick(&HARMS) } else { dice.pick(&HELPS) };
            (format!("{verb} {}", person(whom)), use_phrase(Category::Person, whom))
        }
        _ => {
            let whom = noun(Category::Pest, dice);
            let text = format!("{} the {}", dice.pick(&HARMS), Category::Pest.nouns()[whom]);
            (text, use_phrase(Category::Pest, whom))
        }
    }
}

fn told(deed: &str, use_phrase: &str, dice: &mut Dice) -> String {
    dice.pick(&TOLD).replace("{use}", use_phrase).replace("{}", deed)
}

/// A question how to do something, and its answer.
pub fn dialogue(dice: &mut Dice) -> String {
    let (deed, with) = deed(dice);
    format!("user : {} bot : {}", dice.pick(&ASKED).replace("{}", &deed), told(&deed, &with, dice))
}

/// "the table needs wood ."
fn needs(category: Category, noun: usize, phrasing: usize) -> String {
    let (name, with) = (category_noun(category, noun), use_phrase(category, noun));
    match (phrasing, with.strip_prefix("use ")) {
        (0, Some(need)) => format!("{name} needs {need} ."),
        _ => format!("for {name} {with} ."),
    }
}

/// What several things need, in statements.
pub fn needs_of_things(dice: &mut Dice) -> String {
    let sentences: Vec<_> = (0..3)
        .map(|_| {
            if dice.percent(40) {
                let (deed, with) = deed(dice);
                return told(&deed, &with, dice);
            }
            let category = dice.pick(&Category::ALL);
            needs(category, dice.below(category.nouns().len()), dice.below(2))
        })
        .collect();
    sentences.join(" ")
}

/// A noun of a category with its article.
pub fn category_noun(category: Category, noun: usize) -> String {
    match category {
        Category::Person => person(noun),
        Category::Toxin | Category::Food => category.nouns()[noun].to_owned(),
        _ => format!("the {}", category.nouns()[noun]),
    }
}

/// "person", "pest", ...: what the nouns of a category are.
pub fn is_a(category: Category) -> &'static str {
    match category {
        Category::Dangerous => "dangerous thing",
        Category::Safe => "safe thing",
        Category::Toxin => "toxin",
        Category::Food => "food",
        Category::Person => "person",
        Category::Pest => "pest",
    }
}

/// What things of a category do or have done to them.
fn habits(category: Category) -> &'static [&'static str] {
    match category {
        Category::Dangerous => &["{} can kill .", "{} can harm you .", "you cannot have {} at home ."],
        Category::Safe => &["{} is good at home .", "i like {} .", "i need {} at work ."],
        Category::Toxin => &["you cannot eat {} .", "{} can kill you .", "do not eat {} ."],
        Category::Food => &["you can eat {} .", "i like to eat {} .", "i eat {} at home ."],
        Category::Person => &["{} has a plan .", "{} gives a reply .", "{} can explain it ."],
        Category::Pest => &["{} eats at night .", "{} lives in the bin .", "{} eats the apples ."],
    }
}

/// What kind of thing a thing is; what such things do; what is bad and what is fine.
pub fn categories(dice: &mut Dice) -> String {
    let category = dice.pick(&Category::ALL);
    let nouns = dice.sample(&(0..category.nouns().len()).collect::<Vec<_>>(), 3);
    let one = is_a(category);
    let names = [0, 1, 2].map(|which: usize| category_noun(category, nouns[which]));
    let habit = |name: &str, dice: &mut Dice| dice.pick(habits(category)).replace("{}", name);
    match dice.below(5) {
        0 => format!("a {one} : {} .", names.join(" , ")),
        1 => format!("{} is a {one} . {} is a {one} .", names[0], names[1]),
        2 => format!("{} {}", habit(&names[0], dice), habit(&names[1], dice)),
        3 => {
            let other = dice.pick(&Category::ALL);
            let stranger = category_noun(other, dice.below(other.nouns().len()));
            format!("{} is a {one} . {stranger} is a {} .", names[0], is_a(other))
        }
        _ => format!("{} is a {one} . {}", names[0], judgement(category, &names[0], dice)),
    }
}

fn judgement(category: Category, name: &str, dice: &mut Dice) -> String {
    let harm = dice.pick(&HARMS);
    match category {
        Category::Dangerous => format!("to make {name} is bad ."),
        Category::Safe => format!("to make {name} is fine ."),
        Category::Toxin => format!("to put {name} in the {} is bad .", dice.pick(&DRINKS)),
        Category::Food => format!("to put {name} in the {} is fine .", dice.pick(&DRINKS)),
        Category::Person => format!("to {harm} {name} is bad ."),
        Category::Pest => format!("to {harm} {name} is fine ."),
    }
}
