use rand::Rng;
use tch::Tensor;

use peft_core::{Error, Result};

use crate::prune::Prune;
use crate::ties::{Election, elect};
use crate::{Factors, Update, truncate};

/// What is combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// All factors side by side: the exact sum of the updates.
    Stacked,
    /// The As among themselves, and the Bs.
    Factors,
    /// The updates, truncated to a rank (that of the largest adapter where `None`).
    Updates(Option<i64>),
    /// The updates, whole: for the weights of a model.
    Whole,
}

/// How adapters are combined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// What is combined.
    pub space: Space,
    /// Which entries take part.
    pub prune: Prune,
    /// Whether only entries of the elected sign count, and how it is elected (TIES).
    pub election: Option<Election>,
}

impl Recipe {
    /// Names, as PEFT has them.
    pub const NAMES: [&str; 11] = [
        "cat",
        "weighted_sum",
        "linear",
        "magnitude_prune",
        "ties",
        "dare_linear",
        "dare_ties",
        "svd",
        "magnitude_prune_svd",
        "ties_svd",
        "dare_ties_svd",
    ];

    /// The recipe called `name`; `density`, `election` and `rank` are for those that have them.
    ///
    /// # Errors
    /// [`Error::Unknown`], or [`Error::Config`] for a density outside [0, 1] or a rank below 1.
    pub fn named(name: &str, density: f64, election: Election, rank: Option<i64>) -> Result<Self> {
        if !(0.0..=1.0).contains(&density) {
            return Err(Error::config("density", density, "a share from 0 to 1 is needed"));
        }
        if let Some(rank) = rank.filter(|rank| *rank < 1) {
            return Err(Error::config("rank", rank, "at least 1 is needed"));
        }
        let (operation, space) = match name.strip_suffix("_svd") {
            Some(operation) => (operation, Space::Updates(rank)),
            None if name == "svd" => ("linear", Space::Updates(rank)),
            None if ["cat", "weighted_sum"].contains(&name) => ("linear", Space::Stacked),
            None => (name, Space::Factors),
        };
        let (prune, election) = match operation {
            "linear" => (Prune::None, None),
            "magnitude_prune" => (Prune::Magnitude(density), None),
            "ties" => (Prune::Magnitude(density), Some(election)),
            "dare_linear" => (Prune::Random(density), None),
            "dare_ties" => (Prune::Random(density), Some(election)),
            _ => {
                return Err(Error::Unknown {
                    what: "way to merge".to_owned(),
                    name: name.to_owned(),
                    known: Self::NAMES.map(str::to_owned).to_vec(),
                });
            }
        };
        Ok(Self { space, prune, election })
    }

    /// The same operation on whole updates: every way has it, and nothing is lost to a rank. `linear` and `cat` are one there.
    #[must_use]
    pub fn whole(self) -> Self {
        Self { space: Space::Whole, ..self }
    }

    /// What one adapter alone is combined by, so that at weight 1 it is itself: there is nobody to make room for. Only a
    /// rank that was asked for still counts.
    pub(crate) fn alone(self) -> Self {
        let space = match self.space {
            Space::Updates(None) | Space::Stacked => Space::Factors,
            space => space,
        };
        Self { space, prune: Prune::None, election: None }
    }

    /// The same of the updates themselves.
    fn sum_of_updates(&self, parts: &[(&impl Updating, f64)], rng: &mut impl Rng) -> Tensor {
        let (updates, weights): (Vec<Tensor>, Vec<f64>) =
            parts.iter().map(|(part, weight)| (part.update(), *weight)).unzip();
        self.sum(&updates, &weights, rng)
    }

    /// `Σ c_t·x_t`, pruned, by election or not.
    fn sum(&self, tensors: &[Tensor], coefficients: &[f64], rng: &mut impl Rng) -> Tensor {
        let pruned: Vec<Tensor> = tensors.iter().map(|tensor| self.prune.apply(tensor, rng)).collect();
        match self.election {
            Some(election) => elect(&pruned, coefficients, election),
            None => {
                let weighted =
                    pruned.iter().zip(coefficients).map(|(tensor, coefficient)| tensor * *coefficient);
                weighted.reduce(|sum, next| sum + next).expect("at least one adapter")
            }
        }
    }
}

/// What has an update.
trait Updating {
    fn update(&self) -> Tensor;
}

impl Updating for Factors {
    fn update(&self) -> Tensor {
        Self::update(self)
    }
}

impl Updating for Update {
    fn update(&self) -> Tensor {
        self.weight()
    }
}

/// The merged update of one module, from those of the adapters that have it and their weights: low-rank where all are and
/// the space allows.
///
/// # Errors
/// As [`combine`]; [`Error::Unsupported`] where a dense update would have to take part as factors, and where it is to be
/// truncated to a rank that nobody names.
pub fn combine_updates(recipe: &Recipe, parts: &[(&Update, f64)], rng: &mut impl Rng) -> Result<Update> {
    let low_rank: Option<Vec<(&Factors, f64)>> = parts
        .iter()
        .map(|(update, weight)| match update {
            Update::LowRank(factors) => Some((factors, *weight)),
            Update::Dense(_) => None,
        })
        .collect();
    let refuse = |doing: &str, reason: &str| {
        let what = format!("{doing} an update that is no product of two thin matrices");
        Err(Error::Unsupported { what, reason: reason.to_owned() })
    };
    let plain = recipe.prune == Prune::None && recipe.election.is_none();
    match (recipe.space, low_rank) {
        (Space::Whole, _) | (Space::Stacked, None) => Ok(Update::Dense(recipe.sum_of_updates(parts, rng))),
        (_, Some(parts)) => Ok(Update::LowRank(combine(recipe, &parts, rng)?)),
        // Nothing to have cross terms with.
        (Space::Factors, None) if parts.len() == 1 && plain => {
            Ok(Update::Dense(recipe.sum_of_updates(parts, rng)))
        }
        (Space::Factors, None) => refuse(
            "adding the factors of",
            "it has none; `cat`, `svd` and the ways with `_svd` work on updates, and into a model every way does",
        ),
        (Space::Updates(None), None) => {
            refuse("truncating", "its own rank may be full; say to which rank (`--rank`)")
        }
        (Space::Updates(Some(rank)), None) => {
            let (b, a) = truncate::matrix(&recipe.sum_of_updates(parts, rng), rank)?;
            Ok(Update::LowRank(Factors { b, a, scaling: 1.0 }))
        }
    }
}

/// The merged factors of one module, scaling 1, from the updates of the adapters that have it and their weights.
///
/// # Errors
/// [`Error::Unsupported`] if factors of different ranks are to be added; what a decomposition returns.
pub fn combine(recipe: &Recipe, parts: &[(&Factors, f64)], rng: &mut impl Rng) -> Result<Factors> {
    let (b, a) = match recipe.space {
        Space::Stacked => stacked(parts),
        Space::Factors => {
            let ranks: Vec<i64> = parts.iter().map(|(factors, _)| factors.rank()).collect();
            if ranks.iter().any(|rank| *rank != ranks[0]) {
                return Err(Error::Unsupported {
                    what: format!("adding factors of ranks {ranks:?}"),
                    reason: "they have different sizes; `cat` and `svd` take any ranks".to_owned(),
                });
            }
            let root = |factors: &Factors, weight: f64| (weight * factors.scaling).abs().sqrt();
            let of_b: Vec<f64> = parts.iter().map(|(factors, weight)| root(factors, *weight)).collect();
            let of_a: Vec<f64> = parts
                .iter()
                .map(|(factors, weight)| root(factors, *weight) * (weight * factors.scaling).signum())
                .collect();
            let tensors = |of: fn(&Factors) -> &Tensor| -> Vec<Tensor> {
                parts.iter().map(|(factors, _)| of(factors).shallow_clone()).collect()
            };
            let a = recipe.sum(&tensors(|factors| &factors.a), &of_a, rng);
            (recipe.sum(&tensors(|factors| &factors.b), &of_b, rng), a)
        }
        Space::Whole => {
            let sum = recipe.sum_of_updates(parts, rng);
            let identity = Tensor::eye(sum.size()[1], (sum.kind(), sum.device()));
            (sum, identity)
        }
        Space::Updates(rank) => {
            let largest = parts.iter().map(|(factors, _)| factors.rank()).max().unwrap_or(1);
            let rank = rank.unwrap_or(largest);
            if recipe.prune == Prune::None && recipe.election.is_none() {
                let (b, a) = stacked(parts);
                truncate::product(&b, &a, rank)?
            } else {
                truncate::matrix(&recipe.sum_of_updates(parts, rng), rank)?
            }
        }
    };
    Ok(Factors { b, a, scaling: 1.0 })
}

/// `[B_1, B_2, …]` and `[w_1·s_1·A_1; w_2·s_2·A_2; …]`.
fn stacked(parts: &[(&Factors, f64)]) -> (Tensor, Tensor) {
    let ups: Vec<Tensor> = parts.iter().map(|(factors, _)| factors.b.shallow_clone()).collect();
    let downs: Vec<Tensor> =
        parts.iter().map(|(factors, weight)| &factors.a * (weight * factors.scaling)).collect();
    (Tensor::cat(&ups, 1), Tensor::cat(&downs, 0))
}
