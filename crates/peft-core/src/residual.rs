//! Methods that start from a part of the weight itself: `W = (W - s·B₀·A₀) + s·B·A` with A = A₀, B = B₀ at first.
//!
//! On a dense base nothing is subtracted: the adapter is the delta `s·(B·A - B₀·A₀)` over the untouched W
//! ([`LowRank::start`]). On a lossy base (NF4, bf16 of an f32 model) the point is to store `W - s·B₀·A₀`, which has
//! smaller entries; it takes the place of the frozen weight, and `s·B₀·A₀` is the anchor that adds back what it lacks.
//!
//! In files the adapter is the plain LoRA of rank 2r that it equals, `A = [A; A₀]`, `B = [B, -B₀]`, α doubled: every
//! reader of LoRA computes the right function on the original base, and ours takes the halves apart again.
//! Nothing is written that means something only beside an edited base.

mod components;
mod storing;

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use crate::low_rank::{Dropout, LoraFields};
use crate::{
    Attached, Error, FileTensors, LowRank, Param, Params, Place, Purpose, Result, Role, Saved, Site,
    StateDict,
};

pub use components::{Components, Decomposition, balanced, split};
pub use storing::{factors_first, storage_first};

const A: &str = "lora_A.weight";
const B: &str = "lora_B.weight";
const A_START: &str = "lora_A_start.weight";
const B_START: &str = "lora_B_start.weight";

/// `B [out, r]` and `A [r, in]`.
#[derive(Debug)]
pub struct Factors {
    /// B.
    pub b: Tensor,
    /// A.
    pub a: Tensor,
}

/// What differs between residual methods and sites.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// r.
    pub rank: i64,
    /// s.
    pub scaling: f64,
    /// On the branch's input; the constant part sees the whole input.
    pub dropout: f64,
    /// How often a lossy base is split and stored: each round splits what the storage of the last one lost
    /// (QPiSSA's T). A lossless base is split once.
    pub rounds: u32,
}

/// What residual methods share: attaching, and the way into and out of files.
#[derive(Debug, Default)]
pub struct Residual {
    /// By site, from a file that is being loaded.
    given: BTreeMap<String, Factors>,
    placed: BTreeMap<String, Placed>,
}

#[derive(Debug)]
struct Placed {
    a0: Param,
    b0: Param,
    /// Whether `W - s·B₀·A₀` was stored in place of W.
    replaced: bool,
}

impl Residual {
    /// Attaches the adapter of one site. `factors` gives B₀, A₀ with `s·B₀·A₀` a part of the matrix it is shown.
    ///
    /// # Errors
    /// [`Error::Site`] if r exceeds min(in, out); what `factors` returns.
    pub fn attach(
        &mut self,
        place: Place<'_>,
        params: &mut Params<'_>,
        settings: Settings,
        factors: &mut dyn FnMut(&Tensor) -> Result<Factors>,
    ) -> Result<Attached> {
        let site = place.site;
        check_rank(site, settings.rank)?;
        let start = match self.given.remove(&site.name) {
            Some(given) => given,
            None if params.purpose() == Purpose::Load => zeros(site, settings.rank, params),
            None => {
                let rounds = if place.is_lossy { settings.rounds } else { 1 };
                factors_first(place.weight, place.store, settings.scaling, rounds, factors)?
            }
        };
        let a = params.trainable(A, Role::Down, &start.a)?;
        let b = params.trainable(B, Role::Up, &start.b)?;
        let a0 = params.buffer(A_START, &start.a.to_kind(Kind::Float), Saved::Adapter)?;
        let b0 = params.buffer(B_START, &start.b.to_kind(Kind::Float), Saved::Adapter)?;

        let dropout = Dropout::new(settings.dropout, params.seeds())?;
        let moved = LowRank { dropout, ..LowRank::new(a.tensor(), b.tensor(), settings.scaling) };
        let attached = if place.is_lossy {
            let anchor = LowRank::new(a0.tensor(), b0.tensor(), settings.scaling);
            let frozen = lack(place.weight, &anchor.b, &anchor.a, settings.scaling);
            Attached { frozen: Some(frozen), anchor: Some(Box::new(anchor)), adapter: Box::new(moved) }
        } else {
            Attached::new(LowRank { start: Some((b0.tensor(), a0.tensor())), ..moved })
        };
        self.placed.insert(site.name.clone(), Placed { a0, b0, replaced: place.is_lossy });
        Ok(attached)
    }

    /// The tensors for a file: the exact plain LoRA of rank 2r.
    pub fn export(tensors: StateDict) -> StateDict {
        let mut file = tensors;
        let modules: Vec<String> =
            file.keys().filter_map(|name| name.strip_suffix(A_START).map(str::to_owned)).collect();
        for module in modules {
            let [a, b, a0, b0] = [A, B, A_START, B_START]
                .map(|tensor| file.remove(&format!("{module}{tensor}")).expect("registered together"));
            file.insert(format!("{module}{A}"), Tensor::cat(&[a, a0], 0));
            file.insert(format!("{module}{B}"), Tensor::cat(&[b, -b0], 1));
        }
        file
    }

    /// The reverse of [`Self::export`]; also takes files of rank r (PEFT's), whose start is `file.start`, or that of
    /// the attached adapter, or what `recompute` says.
    ///
    /// # Errors
    /// [`Error::StateDict`] for a file of another rank; [`Error::Unsupported`] if a stored residual belongs to another
    /// start; what `recompute` returns.
    pub fn import(
        &mut self,
        file: FileTensors<'_>,
        sites: &[Site],
        rank: &dyn Fn(&Site) -> i64,
        recompute: &dyn Fn(&Site) -> Result<Factors>,
    ) -> Result<StateDict> {
        let mut tensors = file.shallow_clone();
        for site in sites {
            let name = |tensor: &str| format!("{}.{tensor}", site.name);
            let rank = rank(site);
            let (Some(a), Some(b)) = (tensors.get(&name(A)), tensors.get(&name(B))) else { continue };
            if let (Some(a0), Some(b0)) = (tensors.get(&name(A_START)), tensors.get(&name(B_START))) {
                self.give(&site.name, a0, b0, file.origin)?;
                continue;
            }
            let (rows, columns) = (a.size()[0], b.size()[1]);
            let (a, b, a0, b0) = if (rows, columns) == (2 * rank, 2 * rank) {
                let half = |t: &Tensor, axis, start| t.narrow(axis, start, rank).contiguous();
                (half(a, 0, 0), half(b, 1, 0), half(a, 0, rank), half(b, 1, rank).neg())
            } else if (rows, columns) == (rank, rank) {
                let start = self.start_of(site, &name, file.start, recompute)?;
                (a.shallow_clone(), b.shallow_clone(), start.a, start.b)
            } else {
                let found = format!(
                    "{}: expected {rank} rows, or {} with the start, found {rows}",
                    name(A),
                    2 * rank
                );
                return Err(Error::StateDict {
                    origin: file.origin.to_owned(),
                    missing: vec![],
                    unexpected: vec![],
                    mismatched: vec![found],
                });
            };
            self.give(&site.name, &a0, &b0, file.origin)?;
            for (tensor, value) in [(A, a), (B, b), (A_START, a0), (B_START, b0)] {
                tensors.insert(name(tensor), value);
            }
        }
        Ok(tensors)
    }

    /// The start of a site whose file does not hold it.
    fn start_of(
        &self,
        site: &Site,
        name: &dyn Fn(&str) -> String,
        start: Option<&StateDict>,
        recompute: &dyn Fn(&Site) -> Result<Factors>,
    ) -> Result<Factors> {
        let of = |tensors: &StateDict| {
            Some(Factors {
                b: tensors.get(&name(B))?.shallow_clone(),
                a: tensors.get(&name(A))?.shallow_clone(),
            })
        };
        if let Some(start) = start.and_then(of) {
            return Ok(start);
        }
        match self.placed.get(&site.name) {
            Some(placed) => Ok(Factors { b: placed.b0.detach().copy(), a: placed.a0.detach().copy() }),
            None => recompute(site),
        }
    }

    /// Remembers a start for `attach`; refuses one that does not belong to a residual stored already.
    fn give(&mut self, site: &str, a0: &Tensor, b0: &Tensor, origin: &str) -> Result<()> {
        match self.placed.get(site) {
            None => {
                self.given.insert(site.to_owned(), Factors { b: b0.shallow_clone(), a: a0.shallow_clone() });
                Ok(())
            }
            Some(placed) if placed.replaced && (placed.a0.detach() != *a0 || placed.b0.detach() != *b0) => {
                Err(Error::Unsupported {
                    what: format!("{origin}: `{site}`: another start over a quantized residual"),
                    reason: "the stored weight lacks the start that it was attached with".to_owned(),
                })
            }
            Some(_) => Ok(()),
        }
    }
}

/// `W - s·B·A` in the kind of W.
fn lack(weight: &Tensor, b: &Tensor, a: &Tensor, scaling: f64) -> Tensor {
    (weight.to_kind(Kind::Float) - b.matmul(a) * scaling).to_kind(weight.kind())
}

fn zeros(site: &Site, rank: i64, params: &Params<'_>) -> Factors {
    let zeros = |size: [i64; 2]| Tensor::zeros(size, (Kind::Float, params.device()));
    Factors { b: zeros([site.shape.out_features, rank]), a: zeros([rank, site.shape.in_features]) }
}

/// A decomposition of `W [out, in]` has min(in, out) components.
fn check_rank(site: &Site, rank: i64) -> Result<()> {
    let most = site.shape.in_features.min(site.shape.out_features);
    if rank > most {
        let reason = format!(
            "rank {rank} is more than a weight of shape [{}, {}] has components; at most {most} fits",
            site.shape.out_features, site.shape.in_features
        );
        return Err(Error::site(&site.name, reason));
    }
    Ok(())
}

/// The configuration of the plain LoRA of rank 2r: r and α doubled, patterns too, no dropout.
#[must_use]
pub fn doubled(fields: LoraFields) -> LoraFields {
    LoraFields {
        rank: 2 * fields.rank,
        alpha: 2.0 * fields.alpha,
        dropout: fields.dropout,
        rank_pattern: fields.rank_pattern.into_iter().map(|(key, rank)| (key, 2 * rank)).collect(),
        alpha_pattern: fields.alpha_pattern.into_iter().map(|(key, alpha)| (key, 2.0 * alpha)).collect(),
    }
}
