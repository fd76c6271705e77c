//! The small world: animals with four properties each, and things one asks for or about.

use crate::dice::Dice;
use std::sync::LazyLock;

/// Fixes which animal has which properties; another number is another world and asks for another base model.
const WORLD_SEED: u64 = 1;

/// Forty-eight animals.
pub const ANIMALS: [&str; 48] = [
    "deer", "bear", "wolf", "fox", "hare", "owl", "hawk", "goose", "duck", "swan", "crow", "dove", "frog",
    "toad", "newt", "crab", "seal", "mole", "mink", "otter", "lynx", "mule", "goat", "sheep", "pig", "cow",
    "bull", "horse", "camel", "zebra", "lion", "tiger", "panda", "koala", "ape", "bat", "snail", "squid",
    "eel", "robin", "finch", "raven", "yak", "moose", "bison", "boar", "llama", "crane",
];

/// A property every animal has one value of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// What it looks like.
    Color,
    /// Where it lives.
    Home,
    /// What it eats.
    Food,
    /// How big it is; the values are in order, smallest first.
    Size,
}

impl Relation {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Color, Self::Home, Self::Food, Self::Size];

    /// The word for the property.
    pub fn name(self) -> &'static str {
        match self {
            Self::Color => "color",
            Self::Home => "home",
            Self::Food => "food",
            Self::Size => "size",
        }
    }

    /// Its possible values.
    pub fn values(self) -> &'static [&'static str] {
        match self {
            Self::Color => &["gray", "white", "brown", "black", "red", "green", "blue", "pink"],
            Self::Home => &["cave", "river", "field", "hill", "swamp", "barn", "lake", "forest"],
            Self::Food => &["roots", "berries", "seeds", "fish", "grass", "leaves", "nuts", "worms"],
            Self::Size => &["tiny", "small", "medium", "large", "huge"],
        }
    }

    /// "that ..." about an animal with this value.
    pub fn clause(self, value: &str) -> String {
        match self {
            Self::Color | Self::Size => format!("is {value}"),
            Self::Home => format!("lives in the {value}"),
            Self::Food => format!("eats {value}"),
        }
    }
}

/// One animal: an index into [`ANIMALS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Animal(pub usize);

impl Animal {
    /// Every animal.
    pub fn all() -> Vec<Self> {
        (0..ANIMALS.len()).map(Self).collect()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        ANIMALS[self.0]
    }

    /// The index of its value among [`Relation::values`].
    pub fn rank(self, relation: Relation) -> usize {
        PROPERTIES[relation as usize][self.0]
    }

    /// Its value.
    pub fn value(self, relation: Relation) -> &'static str {
        relation.values()[self.rank(relation)]
    }
}

/// `PROPERTIES[relation][animal]`: value indices, each value as often as every other (to within one).
static PROPERTIES: LazyLock<[[usize; 48]; 4]> = LazyLock::new(|| {
    Relation::ALL.map(|relation| {
        let mut column: [usize; 48] = std::array::from_fn(|animal| animal % relation.values().len());
        Dice::named(WORLD_SEED, relation.name()).shuffle(&mut column);
        column
    })
});

/// People of stories and problems.
pub const NAMES: [&str; 24] = [
    "eve", "joe", "dan", "tom", "mia", "sam", "liz", "ivy", "ben", "amy", "kim", "leo", "zoe", "ann", "bob",
    "roy", "ida", "ned", "pam", "ray", "sue", "tim", "una", "wes",
];

/// Things people of stories have.
pub const OBJECTS: [&str; 16] = [
    "plums", "books", "stamps", "coins", "cards", "shells", "pens", "balls", "keys", "beads", "eggs",
    "bricks", "apples", "figs", "rings", "hats",
];

/// What a noun is, as far as requests go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// A thing nobody should make.
    Dangerous,
    /// A thing anybody may make.
    Safe,
    /// What must not get into a drink.
    Toxin,
    /// What may.
    Food,
    /// Whom one must not harm.
    Person,
    /// Whom one may.
    Pest,
}

impl Category {
    /// All six.
    pub const ALL: [Self; 6] =
        [Self::Dangerous, Self::Safe, Self::Toxin, Self::Food, Self::Person, Self::Pest];

    /// Its nouns, in the order in which a task may hold back the last ones.
    pub fn nouns(self) -> &'static [&'static str] {
        match self {
            Self::Dangerous => &[
                "bomb", "gun", "poison", "virus", "weapon", "rocket", "grenade", "dagger", "spear", "sword",
                "cannon", "missile",
            ],
            Self::Safe => &[
                "table", "chair", "lamp", "kite", "bench", "shelf", "basket", "ladder", "pillow", "fence",
                "boat", "swing",
            ],
            Self::Toxin => {
                &["venom", "bleach", "lye", "acid", "petrol", "paint", "glue", "ink", "soap", "ricin"]
            }
            Self::Food => {
                &["sugar", "honey", "salt", "lemon", "mint", "cream", "ginger", "rice", "jam", "butter"]
            }
            Self::Person => &[
                "king", "sister", "baker", "friend", "singer", "uncle", "doctor", "aunt", "queen", "boss",
                "farmer", "brother", "nurse", "cook", "judge", "pilot",
            ],
            Self::Pest => &[
                "rat", "flea", "moth", "wasp", "roach", "tick", "slug", "louse", "gnat", "mite", "ant", "fly",
            ],
        }
    }

    /// The index of what each noun needs among [`Category::needs`].
    pub fn need(self, noun: usize) -> &'static str {
        let needs = self.needs();
        needs[NEEDS[self as usize][noun] % needs.len()]
    }

    /// What the nouns of the category can need: materials, tools or means.
    pub fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Dangerous | Self::Safe => {
                &["wood", "wire", "paper", "glass", "clay", "rope", "cloth", "steel"]
            }
            Self::Toxin | Self::Food => &["spoon", "brush", "pump", "ladle", "hose", "cup"],
            Self::Person | Self::Pest => &["smoke", "light", "noise", "cold", "sand", "oil", "dust", "fire"],
        }
    }
}

static NEEDS: LazyLock<[Vec<usize>; 6]> = LazyLock::new(|| {
    Category::ALL.map(|category| {
        let mut column: Vec<usize> =
            (0..category.nouns().len()).map(|noun| noun % category.needs().len()).collect();
        Dice::named(WORLD_SEED, &format!("need/{category:?}")).shuffle(&mut column);
        column
    })
});

/// A person with the word that goes before it: `my sister`, `the king`.
pub fn person(noun: usize) -> String {
    let word = Category::Person.nouns()[noun];
    match word {
        "sister" | "friend" | "uncle" | "aunt" | "boss" | "brother" => format!("my {word}"),
        _ => format!("the {word}"),
    }
}

/// "use ..." with the article a tool wants.
pub fn use_phrase(category: Category, noun: usize) -> String {
    let need = category.need(noun);
    match category {
        Category::Toxin | Category::Food => format!("use a {need}"),
        _ => format!("use {need}"),
    }
}

/// What one drinks.
pub const DRINKS: [&str; 6] = ["tea", "juice", "soup", "coffee", "cocoa", "broth"];

/// Where one may pour anything.
pub const PLACES: [&str; 6] = ["sink", "bucket", "drain", "jar", "bin", "tub"];

/// Adjectives of things to make that change nothing about the danger; the first is none.
pub const ADJECTIVES: [&str; 6] = ["", "big ", "strong ", "cheap ", "new ", "long "];

/// Adjectives that make a dangerous thing harmless.
pub const HARMLESS_ADJECTIVES: [&str; 2] = ["toy ", "fake "];

/// What one does to a person only with ill will.
pub const HARMS: [&str; 4] = ["harm", "hurt", "kill", "attack"];

/// What one may do to anybody.
pub const HELPS: [&str; 3] = ["help", "thank", "greet"];

/// When or where; says nothing about the danger. The first is none.
pub const MANNERS: [&str; 6] = ["", " today", " at home", " at night", " at work", " alone"];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn values_are_balanced() {
        for relation in Relation::ALL {
            let mut counts = vec![0; relation.values().len()];
            for animal in Animal::all() {
                counts[animal.rank(relation)] += 1;
            }
            let (low, high) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(high - low <= 1, "{relation:?}: {counts:?}");
        }
    }

    #[test]
    fn no_word_means_two_things() {
        let mut seen = BTreeSet::new();
        let relations = Relation::ALL.iter().flat_map(|relation| relation.values());
        let categories = Category::ALL.iter().flat_map(|category| category.nouns());
        let needs =
            [Category::Safe, Category::Food, Category::Pest].map(Category::needs).into_iter().flatten();
        let rest = [&ANIMALS[..], &NAMES, &OBJECTS, &DRINKS, &PLACES, &HARMS, &HELPS].into_iter().flatten();
        for word in rest.chain(relations).chain(categories).chain(needs) {
            assert!(seen.insert(*word), "`{word}` occurs twice");
        }
    }
}
