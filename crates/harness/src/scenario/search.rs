//! The weights of a merge, chosen by validation scores.

use std::collections::BTreeMap;

use peft_core::StateDict;
use tch::Tensor;

use crate::Result;
use crate::config::{MergePlan, Search};

/// Weights, and what choosing them cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// One for each task.
    pub weights: Vec<f64>,
    /// Merges that were scored on the validation splits.
    pub evaluations: u64,
}

/// Finds the weights of `tasks` adapters for which `score` is highest: the best common one of the plan's grid, and, where the
/// plan says so, from there to a neighbour on the grid for one task at a time, as long as that helps. Nothing is scored twice.
///
/// # Errors
/// Those of `score`.
///
/// # Panics
/// If the plan has no weights; [`crate::config::Scenario::parse`] refuses it.
pub fn choose(
    plan: &MergePlan,
    tasks: usize,
    mut score: impl FnMut(&[f64]) -> Result<f64>,
) -> Result<Choice> {
    let mut grid = plan.weights.clone();
    grid.sort_by(f64::total_cmp);
    let mut known: BTreeMap<Vec<usize>, f64> = BTreeMap::new();
    let mut of = |at: &[usize]| -> Result<f64> {
        if let Some(&score) = known.get(at) {
            return Ok(score);
        }
        let score = score(&at.iter().map(|&index| grid[index]).collect::<Vec<_>>())?;
        known.insert(at.to_vec(), score);
        Ok(score)
    };
    let mut best = (vec![0; tasks], of(&vec![0; tasks])?);
    for index in 1..grid.len() {
        let at = vec![index; tasks];
        let score = of(&at)?;
        if score > best.1 {
            best = (at, score);
        }
    }
    let mut moved = plan.search == Search::Each;
    while std::mem::take(&mut moved) {
        for task in 0..tasks {
            let here = best.0[task];
            for index in [here.wrapping_sub(1), here + 1] {
                let mut at = best.0.clone();
                at[task] = index;
                if index < grid.len() && of(&at)? > best.1 {
                    best = (at.clone(), of(&at)?);
                    moved = true;
                }
            }
        }
    }
    let weights = best.0.iter().map(|&index| grid[index]).collect();
    Ok(Choice { weights, evaluations: known.len() as u64 })
}

const WEIGHTS: &str = "weights";
const EVALUATIONS: &str = "evaluations";

impl Choice {
    /// Nothing was chosen: all have `weight`.
    pub fn fixed(weight: f64, tasks: usize) -> Self {
        Self { weights: vec![weight; tasks], evaluations: 0 }
    }

    /// As a cell keeps it.
    pub fn to_tensors(&self) -> StateDict {
        StateDict::from([
            (WEIGHTS.to_owned(), Tensor::from_slice(&self.weights)),
            (EVALUATIONS.to_owned(), Tensor::from(self.evaluations.cast_signed())),
        ])
    }

    /// The reverse; none of a cell that keeps none.
    pub fn from_tensors(tensors: &StateDict) -> Option<Self> {
        Some(Self {
            weights: Vec::try_from(tensors.get(WEIGHTS)?).ok()?,
            evaluations: tensors.get(EVALUATIONS)?.int64_value(&[]).cast_unsigned(),
        })
    }

    /// `0.5`, or `0.5, 0.75, 1` where tasks differ.
    pub fn words(&self) -> String {
        let all: Vec<String> = self.weights.iter().map(f64::to_string).collect();
        if all.iter().all(|one| *one == all[0]) { all[0].clone() } else { all.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(search: Search) -> MergePlan {
        let weights = vec![1.0, 0.25, 0.5, 0.75];
        MergePlan { combinations: Vec::new(), weights, ways: [].into(), density: 1.0, search }
    }

    /// A hill with its top at (0.25, 0.75), whose best common weight is 0.5.
    fn hill(weights: &[f64]) -> f64 {
        -(weights[0] - 0.25).powi(2) - (weights[1] - 0.75).powi(2)
    }

    #[test]
    fn the_best_common_weight_and_from_there_each() {
        let mut scored = Vec::new();
        let mut score = |weights: &[f64]| {
            scored.push(weights.to_vec());
            Ok(hill(weights))
        };
        let common = choose(&plan(Search::Common), 2, &mut score).unwrap();
        assert_eq!(common, Choice { weights: vec![0.5, 0.5], evaluations: 4 });
        let each = choose(&plan(Search::Each), 2, &mut score).unwrap();
        assert_eq!(each.weights, [0.25, 0.75]);
        scored.drain(..4);
        assert_eq!(scored.len() as u64, each.evaluations, "nothing is scored twice");
        assert_eq!(Choice::from_tensors(&each.to_tensors()), Some(each));
    }
}
