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
use crate::item::PerSplit;
use crate::task::Raw;
use draft::{Draft, fill};

/// The items of a generated task.
pub(crate) fn drafts(builtin: &Builtin) -> Result<PerSplit<Vec<Raw>>> {
    match builtin {
        Builtin::Nlu(data) => {
            // Questions about one fact stand or fall together.
            let cluster = |draft: &Draft| Some(draft.key.clone());
            singles(
                "nlu",
                data,
                |dice| nlu::plan(&data.mix, dice),
                |kind, dice| nlu::draw(*kind, dice),
                cluster,
            )
        }
        Builtin::Math(data) => {
            let draw = |steps: &usize, dice: &mut Dice| math::draw(*steps, &data.mix, dice);
            singles("math", data, |dice| math::plan(&data.mix, dice), draw, |_| None)
        }
        Builtin::Code(data) => {
            let draw = |count: &usize, dice: &mut Dice| code::draw(*count, &data.mix, dice);
            singles("code", data, |dice| code::plan(&data.mix, dice), draw, |_| None)
        }
        Builtin::Safety(data) => PerSplit::try_from_fn(|split| {
            let pairs = fill(
                "safety",
                data,
                split,
                |dice| safety::plan(&data.mix, split, dice),
                |plan, dice| safety::draw(*plan, &data.mix, dice),
            )?;
            let clusters = (0..).map(|index| format!("{}-pair-{index:05}", split.name()));
            let halves = pairs.into_iter().zip(clusters).flat_map(|(pair, cluster)| {
                pair.into_iter().map(move |draft| (draft.key, Some(cluster.clone()), draft.fields))
            });
            Ok(halves.collect())
        }),
    }
}

fn singles<M, P>(
    task: &str,
    data: &Generated<M>,
    mut plan: impl FnMut(&mut Dice) -> P,
    mut draw: impl FnMut(&P, &mut Dice) -> Draft,
    cluster: impl Fn(&Draft) -> Option<String>,
) -> Result<PerSplit<Vec<Raw>>> {
    PerSplit::try_from_fn(|split| {
        let drafts = fill(task, data, split, &mut plan, |plan, dice| vec![draw(plan, dice)])?;
        Ok(drafts
            .into_iter()
            .flatten()
            .map(|draft| (draft.key.clone(), cluster(&draft), draft.fields))
            .collect())
    })
}
