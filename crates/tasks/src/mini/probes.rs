//! What a base model must be able to finish before it is worth fine-tuning.

use super::documents::{LINES, category_noun, fact, is_a, pick_clause, sum, to_write};
use super::phrase;
use super::world::{Animal, Category, NAMES, OBJECTS, Relation, use_phrase};
use crate::dice::Dice;
use crate::program::{Program, Statement};
use serde::{Deserialize, Serialize};

/// A skill of the base model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skill {
    /// A property of an animal.
    Fact,
    /// The one of four with a property.
    Pick,
    /// The one of four with two properties.
    PickTwo,
    /// The biggest of four.
    Biggest,
    /// What stands at a label.
    Label,
    /// Two words in the reverse of the order they are named in.
    Reorder,
    /// A sum, difference or product.
    Sum,
    /// The result of a change in a story.
    Story,
    /// What the second statement of a program gives.
    Program,
    /// The statement for a phrase.
    Glossary,
    /// What something needs.
    Need,
    /// What kind of thing a thing is.
    Category,
    /// The reply of a fixed line.
    SmallTalk,
}

impl Skill {
    /// All skills.
    pub const ALL: [Self; 13] = [
        Self::Fact,
        Self::Pick,
        Self::PickTwo,
        Self::Biggest,
        Self::Label,
        Self::Reorder,
        Self::Sum,
        Self::Story,
        Self::Program,
        Self::Glossary,
        Self::Need,
        Self::Category,
        Self::SmallTalk,
    ];
}

/// A text to be finished greedily.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The text.
    pub prompt: String,
    /// How it goes on.
    pub expected: String,
}

impl Probe {
    /// Whether an answer begins as expected, at the end of a word: ` 2` is not the beginning of ` 21`.
    pub fn passes(&self, answer: &str) -> bool {
        answer
            .strip_prefix(&self.expected)
            .is_some_and(|rest| !rest.chars().next().is_some_and(|c| c.is_ascii_alphanumeric()))
    }
}

/// `count` probes of a skill, the same for the same seed.
pub fn probes(skill: Skill, seed: u64, count: usize) -> Vec<Probe> {
    let mut dice = Dice::named(seed, &format!("probes/{skill:?}"));
    (0..count).map(|_| probe(skill, &mut dice)).collect()
}

fn probe(skill: Skill, dice: &mut Dice) -> Probe {
    match skill {
        Skill::Fact => {
            // "the deer is" may go on with a color or a size: the phrasing that names the property is asked.
            let sentence = fact(dice.pick(&Animal::all()), dice.pick(&Relation::ALL), 1);
            let (asked, value) = sentence.rsplit_once(" is ").expect("the sentence says `is`");
            cut(&format!("{asked} is"), value)
        }
        Skill::Pick | Skill::PickTwo | Skill::Biggest => pick(skill, dice),
        Skill::Label => {
            let words = dice.sample(&OBJECTS, 4);
            let at = dice.below(4);
            let list: Vec<_> =
                ["A", "B", "C", "D"].iter().zip(&words).map(|(l, word)| format!("{l} {word}")).collect();
            cut(&format!("list : {} . {} is", list.join(" "), ["A", "B", "C", "D"][at]), words[at])
        }
        Skill::Reorder => {
            let words = dice.sample(&OBJECTS, 2);
            cut(
                &format!("say {} , but before that {} . so", words[1], words[0]),
                &format!("{} {} .", words[0], words[1]),
            )
        }
        Skill::Sum => {
            let (text, result) = sum(dice);
            cut(&format!("{text} ="), &result.to_string())
        }
        Skill::Story => {
            let (name, things) = (dice.pick(&NAMES), dice.pick(&OBJECTS));
            let (start, k) = (dice.range(10..=50), dice.range(2..=9));
            let (sentence, result) =
                if dice.percent(50) { ("finds", start + k) } else { ("sells", start - k) };
            let prompt = format!("{name} has {start} {things} . {name} {sentence} {k} . now {name} has");
            cut(&prompt, &format!("{result} {things} ."))
        }
        Skill::Program => {
            let (start, k) = (dice.range(5..=20), dice.range(2..=9));
            let statement = phrase::statement(dice, false);
            let program = Program(vec![Statement::Add(k), statement.clone()]);
            let result = program.run(start, 100).expect("a short program on a small number ends");
            let prompt = format!("x = {start} ; x = x + {k} gives {} ; {statement} gives", start + k);
            cut(&prompt, &result.to_string())
        }
        Skill::Glossary => {
            let statement = phrase::statement(dice, false);
            let sentence = to_write(&statement, dice);
            let (asked, written) = sentence.split_once(" write ").expect("the sentence says `write`");
            cut(&format!("{asked} write"), written)
        }
        Skill::Need => {
            let category = dice.pick(&[Category::Dangerous, Category::Safe, Category::Toxin, Category::Pest]);
            let noun = dice.below(category.nouns().len());
            let name = category.nouns()[noun];
            let deed = match category {
                Category::Toxin => format!("put {name} in the sink"),
                Category::Pest => format!("harm the {name}"),
                _ => format!("make a {name}"),
            };
            cut(&format!("to {deed}"), &format!("{} .", use_phrase(category, noun)))
        }
        Skill::Category => {
            let category = dice.pick(&Category::ALL);
            let noun = category_noun(category, dice.below(category.nouns().len()));
            cut(&format!("{noun} is a"), is_a(category))
        }
        Skill::SmallTalk => {
            let (asked, reply) = dice.pick(&LINES).split_once(" bot :").expect("every line has a reply");
            cut(&format!("{asked} bot :"), reply.trim_start())
        }
    }
}

fn pick(skill: Skill, dice: &mut Dice) -> Probe {
    loop {
        let animals = dice.sample(&Animal::all(), 4);
        let right = animals[dice.below(4)];
        let pair = dice.sample(&Relation::ALL, 2);
        let fits = |animal: &&Animal| match skill {
            Skill::Biggest => animal.rank(Relation::Size) >= right.rank(Relation::Size),
            Skill::PickTwo => pair.iter().all(|relation| animal.rank(*relation) == right.rank(*relation)),
            _ => animal.rank(pair[0]) == right.rank(pair[0]),
        };
        if animals.iter().filter(fits).count() > 1 {
            continue;
        }
        let clause = |which: usize| pair[which].clause(right.value(pair[which]));
        let description = match skill {
            Skill::Biggest => "the biggest one".to_owned(),
            Skill::PickTwo => format!("the one that {} and {}", clause(0), clause(1)),
            _ => pick_clause(pair[0], right.value(pair[0])),
        };
        let list: Vec<_> = animals.iter().map(|animal| format!("the {}", animal.name())).collect();
        return cut(&format!("here are {} . {description} is the", list.join(" , ")), right.name());
    }
}

fn cut(prompt: &str, expected: &str) -> Probe {
    Probe { prompt: format!(" {prompt}"), expected: format!(" {expected}") }
}
