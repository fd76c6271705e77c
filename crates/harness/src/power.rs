//! What a planned comparison could tell apart, before it is run.

use compare::stats::Settings;
use compare::stats::power::{Pairing, Plan, SeedNoise};
use compare::{Basis, Ranked, Run};

use crate::Result;

/// What the answer rests on: how often two methods disagree, and what another seed changes.
#[derive(Clone, Debug)]
pub struct Assumption {
    /// Share of items on which exactly one of two methods is right.
    pub discordance: f64,
    /// What seeds do to a score.
    pub noise: SeedNoise,
    /// Where these are from, in a few words.
    pub source: String,
}

impl Default for Assumption {
    /// Two methods that disagree on a fifth of the items, seeds that differ by a point and share half of an item's luck.
    fn default() -> Self {
        let noise = SeedNoise { sd: 0.01, item_correlation: 0.5 };
        Self { discordance: 0.2, noise, source: "assumed".to_owned() }
    }
}

impl Assumption {
    /// From runs of several methods on `task`: the medians over their pairs. Without pairs of right/wrong scores, the default.
    ///
    /// # Errors
    /// If the runs cannot be compared.
    pub fn of(runs: &[Run], task: &str) -> Result<Self> {
        let runs: Vec<Run> = runs.iter().filter(|run| run.record.task == task).cloned().collect();
        let entries = compare::entries(&runs)?;
        let rankings = compare::rank_all(&entries, &Settings::default())?;
        let rows = rankings.iter().flat_map(|ranking| &ranking.rows);
        let trained: Vec<&Ranked<'_>> = rows.filter(|row| !row.entry.record().is_base()).collect();
        let mut pilots = Vec::new();
        for (index, a) in trained.iter().enumerate() {
            for b in &trained[index + 1..] {
                let (Basis::Scores(a), Basis::Scores(b)) = (&a.pooled.basis, &b.pooled.basis) else {
                    continue;
                };
                if (a.clusters(), a.seeds()) == (b.clusters(), b.seeds()) {
                    pilots.extend(Plan::of_pilot(a, b));
                }
            }
        }
        let mut assumption = Self::default();
        let pairs = pilots.len();
        if pairs == 0 {
            if !trained.is_empty() {
                "assumed: no two methods there were right or wrong on single items"
                    .clone_into(&mut assumption.source);
            }
            return Ok(assumption);
        }
        assumption.discordance = median(pilots.iter().map(|plan| match plan.pairing {
            Pairing::Paired { discordance } => discordance,
            Pairing::Unpaired { .. } => unreachable!("a pilot is paired"),
        }));
        // One seed says nothing of the noise between seeds.
        let several: Vec<&Plan> = pilots.iter().filter(|plan| plan.seeds > 1).collect();
        let of_seeds = if several.is_empty() {
            "1 seed, its noise assumed".to_owned()
        } else {
            let sd = median(several.iter().map(|plan| plan.noise.sd));
            let item_correlation = median(several.iter().map(|plan| plan.noise.item_correlation));
            assumption.noise = SeedNoise { sd, item_correlation };
            let seeds = several.iter().map(|plan| plan.seeds).max().unwrap_or_default();
            if several.len() == pairs {
                format!("{seeds} seeds")
            } else {
                format!("{} with {seeds} seeds", several.len())
            }
        };
        let word = if pairs == 1 { "pair" } else { "pairs" };
        assumption.source = format!("{pairs} {word} of methods, {of_seeds}");
        Ok(assumption)
    }

    /// The plan of a comparison on the same items.
    pub fn plan(&self, seeds: u32) -> Plan {
        let pairing = Pairing::Paired { discordance: self.discordance };
        Plan { noise: self.noise, seeds, ..Plan::new(pairing) }
    }
}

/// The items and seeds that tell `difference` apart with the fewest answers, of all numbers of seeds up to a hundred.
pub fn fewest_answers(assumption: &Assumption, difference: f64) -> Option<(u64, u32)> {
    const MOST_SEEDS: u32 = 100;
    let fewest = if assumption.noise.sd > 0.0 { 2 } else { 1 };
    let plans = (fewest..=MOST_SEEDS)
        .filter_map(|seeds| Some((assumption.plan(seeds).items_needed(difference).ok()?, seeds)));
    plans.min_by_key(|&(items, seeds)| items.saturating_mul(u64::from(seeds)))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}
