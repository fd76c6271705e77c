//! Filling the splits of a generated task: disjoint by construction, the same on every machine.

use crate::config::Generated;
use crate::dice::Dice;
use crate::item::{Fields, PerSplit, Split};
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Draws for one group before the task is held to have no more such items.
const PATIENCE: usize = 20_000;

/// One generated item before its prompt is rendered.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What the item asks, without what only varies its surface: decides the split.
    pub key: String,
    /// Whether the item is meant for the test split whatever its key (nouns never trained on).
    pub held_out: bool,
    /// The values for the templates and for scoring.
    pub fields: Fields,
}

/// The split a key belongs to: SHA-256(key) mod 100 against the shares, train first.
pub fn split_of(key: &str, shares: &PerSplit<u32>) -> Split {
    let digest = Sha256::digest(key.as_bytes());
    let (head, _) = digest.split_first_chunk::<8>().expect("a SHA-256 digest has 32 bytes");
    let point = (u64::from_le_bytes(*head) % 100) as u32;
    if point < shares.train {
        Split::Train
    } else if point < shares.train + shares.validation {
        Split::Validation
    } else {
        Split::Test
    }
}

/// Draws groups of items (pairs, or singles) until `split` is full.
///
/// For each group `plan` says what kind it is, and `draw` is asked for one of that kind (it may fail) until every key
/// in it belongs to the split and none of its items was drawn before: so the shares of the kinds are those of the
/// plan, whatever is rejected. Each split has its own stream, so the size of one does not change another.
pub fn fill<M, P>(
    task: &str,
    generated: &Generated<M>,
    split: Split,
    mut plan: impl FnMut(&mut Dice) -> P,
    mut draw: impl FnMut(&P, &mut Dice) -> Option<Vec<Draft>>,
) -> Result<Vec<Vec<Draft>>> {
    let wanted = *generated.items.of(split);
    let mut dice = Dice::named(generated.seed, &format!("tasks/{task}/{}", split.name()));
    let belongs = |draft: &Draft| {
        if draft.held_out {
            split == Split::Test
        } else {
            split_of(&draft.key, &generated.split_percent) == split
        }
    };
    let mut seen = BTreeSet::new();
    let mut groups: Vec<Vec<Draft>> = Vec::new();
    let mut count = 0;
    while count < wanted {
        let kind = plan(&mut dice);
        let group = (0..PATIENCE)
            .filter_map(|_| draw(&kind, &mut dice))
            .find(|group| group.iter().all(|draft| belongs(draft) && !seen.contains(&draft.fields)))
            .ok_or_else(|| Error::TooFewItems {
                task: task.to_owned(),
                split: split.name(),
                wanted,
                found: count,
            })?;
        seen.extend(group.iter().map(|draft| draft.fields.clone()));
        count += group.len();
        groups.push(group);
    }
    Ok(groups)
}
