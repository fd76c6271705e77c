//! `quantization-error`: what 4 bits lose of a model's weights, and how much of it factors of low rank bring back.

use std::collections::BTreeMap;

use compare::table::{TerminalStyle, listing};
use peft_core::residual::{Components, Decomposition, factors_first, split, storage_first};
use peft_core::{Adaptable, Seeds, Storage, linalg};
use rand::Rng;
use serde_json::json;
use tasks::Quantization;
use tch::Tensor;

use super::{print, use_threads};
use crate::cli::QuantizationErrorArgs;
use crate::config::storage_or;
use crate::progress::Display;
use crate::session::{Session, storage_of};
use crate::{Error, Result, interrupt};

/// Nuclear norms of `W - Ŵ` for one layer: alone, and after each number of rounds.
struct Lost {
    alone: f64,
    storage_first: Vec<f64>,
    factors_first: Vec<f64>,
}

pub(super) fn execute(args: &QuantizationErrorArgs) -> Result<()> {
    use_threads(args.model.threads);
    let format = storage_or(&args.storage, Some(Quantization::Nf4))?;
    let format = format.ok_or_else(|| Error::Usage("`--quantize none` loses nothing".to_owned()))?;
    let name = args.model.name_or(None);
    let mut session = Session::open(&args.model, name)?;
    let layers = session.learner.linears().into_iter().filter(|linear| !linear.is_head());
    let layers: Vec<_> = layers.collect();
    let mut progress = Display::choose(args.quiet).start("quantization error", layers.len() as u64);
    let mut kinds: BTreeMap<String, Vec<Lost>> = BTreeMap::new();
    let mut rng = Seeds::new(0).rng();
    for linear in layers {
        if interrupt::asked() {
            return Err(Error::Interrupted);
        }
        let shape = linear.shape();
        let rank = args.rank.min(shape.in_features).min(shape.out_features);
        let weight = linear.frozen().dense();
        let lost = tch::no_grad(|| measure(&weight, storage_of(Some(format)), rank, &args.rounds, &mut rng))?;
        let projection = linear.name().rsplit('.').next().unwrap_or_default();
        let kind = format!("{projection} {}×{}", shape.out_features, shape.in_features);
        kinds.entry(kind).or_default().push(lost);
        progress.step(0, linear.name());
    }
    drop(progress);
    if args.json {
        print(&serde_json::to_string_pretty(&as_json(&kinds, name, args)).expect("numbers print"));
    } else {
        print(&table(&kinds, &args.rounds));
        print(&format!(
            "{name}, rank {}: sums over the layers of a kind of the nuclear norm of what is lost, alone (QLoRA), and by how \
             much less it is with LoftQ's and with QPiSSA's factors after so many rounds.",
            args.rank
        ));
    }
    Ok(())
}

fn measure(
    weight: &Tensor,
    storage: &dyn Storage,
    rank: i64,
    rounds: &[u32],
    rng: &mut impl Rng,
) -> Result<Lost> {
    let store = |weight: &Tensor| storage.round_trip(weight);
    let mut principal =
        |matrix: &Tensor| split(matrix, rank, 1.0, Components::Principal, Decomposition::Full, rng);
    let mut lost =
        Lost { alone: nuclear(&(weight - store(weight)))?, storage_first: vec![], factors_first: vec![] };
    for &rounds in rounds {
        let (stored, found) = storage_first(weight, &store, 1.0, rounds, &mut principal)?;
        lost.storage_first.push(nuclear(&(weight - stored - found.b.matmul(&found.a)))?);
        let found = factors_first(weight, &store, 1.0, rounds, &mut principal)?;
        let product = found.b.matmul(&found.a);
        lost.factors_first.push(nuclear(&(weight - store(&(weight - &product)) - product))?);
    }
    Ok(lost)
}

fn nuclear(error: &Tensor) -> Result<f64> {
    Ok(linalg::svd(&error.to_kind(tch::Kind::Float))?.s.sum(tch::Kind::Double).double_value(&[]))
}

/// Sums over layers.
fn total(lost: &[&Lost], of: impl Fn(&Lost) -> f64) -> f64 {
    lost.iter().map(|lost| of(lost)).sum()
}

fn table(kinds: &BTreeMap<String, Vec<Lost>>, rounds: &[u32]) -> String {
    let mut header = vec!["layers".to_owned(), "QLoRA".to_owned()];
    for method in ["LoftQ", "QPiSSA"] {
        header.extend(rounds.iter().map(|rounds| format!("{method} T={rounds}")));
    }
    let all: Vec<&Lost> = kinds.values().flatten().collect();
    let each = kinds.iter().map(|(kind, lost)| (kind.as_str(), lost.iter().collect::<Vec<_>>()));
    let rows = each.chain([("all", all)]).map(|(kind, lost)| {
        let alone = total(&lost, |lost| lost.alone);
        let less = |sum: f64| format!("-{:.1} %", 100.0 * (1.0 - sum / alone));
        let mut row = vec![format!("{kind} ({})", lost.len()), format!("{alone:.3}")];
        row.extend((0..rounds.len()).map(|i| less(total(&lost, |lost| lost.storage_first[i]))));
        row.extend((0..rounds.len()).map(|i| less(total(&lost, |lost| lost.factors_first[i]))));
        row
    });
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    listing(&header, rows.collect::<Vec<_>>(), TerminalStyle::detect())
}

fn as_json(
    kinds: &BTreeMap<String, Vec<Lost>>,
    name: &str,
    args: &QuantizationErrorArgs,
) -> serde_json::Value {
    let kinds: serde_json::Map<_, _> = kinds
        .iter()
        .map(|(kind, lost)| {
            let lost: Vec<&Lost> = lost.iter().collect();
            let by_rounds = |of: fn(&Lost) -> &Vec<f64>| -> Vec<f64> {
                (0..args.rounds.len()).map(|i| total(&lost, |lost| of(lost)[i])).collect()
            };
            let row = json!({
                "layers": lost.len(),
                "qlora": total(&lost, |lost| lost.alone),
                "loftq": by_rounds(|lost| &lost.storage_first),
                "qpissa": by_rounds(|lost| &lost.factors_first),
            });
            (kind.clone(), row)
        })
        .collect();
    json!({ "model": name, "rank": args.rank, "rounds": args.rounds, "nuclear_norm": kinds })
}
