//! The built-in suite: a small world, four tasks about it, and the corpus its base model is made from.

mod code;
mod corpus;
mod documents;
mod draft;
mod math;
mod nlu;
mod pack;
mod phrase;
mod pretrain;
mod probes;
mod safety;
mod tokenizer;
pub(crate) mod world;

pub use corpus::{Corpus, Document, Kind};
pub use pack::{PackedRows, Row};
pub use pretrain::{CorpusConfig, PretrainData, ProbeConfig, TokenizerConfig};
pub use probes::{Probe, Skill, probes};
pub use tokenizer::train_tokenizer;

use crate::Result;
use crate::config::{Builtin, Generated};
use crate::dice::Dice;
use crate::item::{PerSplit, Split};
use crate::task::RawItem;
use draft::{Draft, fill, split_of};

/// The items of a generated task.
pub(crate) fn drafts(builtin: &Builtin) -> Result<PerSplit<Vec<RawItem>>> {
    match builtin {
        Builtin::Nlu(data) => {
            let plan = |_, dice: &mut Dice| nlu::plan(&data.mix, dice);
            let draw = |split, kind: &nlu::Kind, dice: &mut Dice| {
                let here = |key: &str| split_of(key, &data.split_percent) == split;
                Some(vec![nlu::draw(*kind, &here, dice)?])
            };
            // Questions about one fact stand or fall together.
            groups("nlu", data, plan, draw, |group, _| Some(group[0].key.clone()))
        }
        Builtin::Math(data) => {
            let plan = |_, dice: &mut Dice| math::plan(&data.mix, dice);
            let draw = |_, steps: &usize, dice: &mut Dice| Some(vec![math::draw(*steps, &data.mix, dice)]);
            groups("math", data, plan, draw, |_, _| None)
        }
        Builtin::Code(data) => {
            let plan = |_, dice: &mut Dice| code::plan(&data.mix, dice);
            let draw = |_, count: &usize, dice: &mut Dice| Some(vec![code::draw(*count, &data.mix, dice)]);
            groups("code", data, plan, draw, |_, _| None)
        }
        Builtin::Safety(data) => {
            let plan = |split, dice: &mut Dice| safety::plan(&data.mix, split, dice);
            let draw = |split, plan: &safety::Plan, dice: &mut Dice| {
                let here = |key: &str| split_of(key, &data.split_percent) == split;
                safety::draw(*plan, &data.mix, &here, dice)
            };
            groups("safety", data, plan, draw, |_, place| Some(place.to_owned()))
        }
    }
}

/// Fills every split with groups; `cluster` names the cluster of a group from its items and its place.
fn groups<M, P>(
    task: &str,
    data: &Generated<M>,
    plan: impl Fn(Split, &mut Dice) -> P,
    draw: impl Fn(Split, &P, &mut Dice) -> Option<Vec<Draft>>,
    cluster: impl Fn(&[Draft], &str) -> Option<String>,
) -> Result<PerSplit<Vec<RawItem>>> {
    PerSplit::try_from_fn(|split| {
        let groups = fill(task, data, split, |dice| plan(split, dice), |kind, dice| draw(split, kind, dice))?;
        let mut raw = Vec::new();
        for (index, group) in groups.into_iter().enumerate() {
            let cluster = cluster(&group, &format!("{}-pair-{index:05}", split.name()));
            raw.extend(group.into_iter().map(|Draft { key, fields, .. }| RawItem {
                key,
                cluster: cluster.clone(),
                fields,
            }));
        }
        Ok(raw)
    })
}
