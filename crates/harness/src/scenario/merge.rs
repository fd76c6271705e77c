//! Adapters of single tasks, merged and scored on each of their tasks, beside what each scores alone.

use std::collections::BTreeMap;
use std::time::Instant;

use compare::{Evidence, Run, RunRecord, Status, Total};
use jiff::Timestamp;
use merging::{Contribution, Election, Factors, Recipe, Update, Updates, interference, merge};
use peft_core::peft_file::AdapterFile;
use peft_core::{Seeds, StateDict};
use serde_json::{Value, json};
use tasks::Split;

use crate::cells::{CellKey, surroundings};
use crate::config::{Experiment, MergePlan, Search};
use crate::evaluate::Scored;
use crate::queue::{Queue, Stage};
use crate::run::{Context, seeds};
use crate::scenario::{Choice, choose, score_updates};
use crate::updates::{beside_base, is_selfcontained};
use crate::{Error, Result, record};

/// The adapters of one combination: one method, one seed, a task each.
struct Group<'a> {
    experiments: Vec<&'a Experiment>,
    keys: Vec<String>,
    /// What each adds to the weights.
    updates: Vec<Updates>,
    seed: u64,
    /// `nlu+safety`.
    name: String,
}

/// Merges what one method learned with one seed, in all combinations and ways of `plan`. Returns the runs, those of single
/// adapters among them, under task names such as `nlu in nlu+safety`, and what is worth knowing beside scores.
///
/// # Errors
/// Whatever training, merging or scoring refuse.
pub fn merged(
    queue: &mut Queue<'_>,
    experiments: &[&Experiment],
    plan: &MergePlan,
    seed: u64,
) -> Result<(Vec<Run>, Vec<Value>)> {
    let (mut runs, mut notes) = (Vec::new(), Vec::new());
    for combination in &plan.combinations {
        let group = Group::train(queue, experiments, combination, seed)?;
        let method = group.experiments[0].method.info;
        runs.extend(group.alone(queue));
        let mut chosen = BTreeMap::new();
        for how in plan.ways(method.name) {
            if plan.search == Search::Every {
                for &weight in &plan.weights {
                    runs.extend(group.with_weight(queue, plan, how, weight)?);
                    if how == "cat" {
                        let alone = Choice::fixed(weight, group.keys.len());
                        runs.extend(group.scaled(queue, &format!("scaled@{weight}"), &alone)?);
                    }
                }
                continue;
            }
            let (of_way, choice, seconds) = group.way(queue, plan, how)?;
            runs.extend(of_way);
            if how == "cat" {
                runs.extend(group.scaled(queue, "scaled", &choice)?);
            }
            let Choice { weights, evaluations } = choice;
            chosen.insert(
                how.clone(),
                json!({ "weights": weights, "evaluations": evaluations, "seconds": seconds }),
            );
        }
        notes.push(json!({
            "method": method.name,
            "seed": seed,
            "combination": group.name,
            "chosen": chosen,
            "adapters": group.norms()?,
        }));
    }
    Ok((runs, notes))
}

impl<'a> Group<'a> {
    fn train(
        queue: &mut Queue<'_>,
        all: &[&'a Experiment],
        combination: &[String],
        seed: u64,
    ) -> Result<Self> {
        let find = |task: &String| {
            all.iter().copied().find(|experiment| experiment.task.name == *task).ok_or_else(|| {
                Error::Unknown {
                    what: "task of the scenario",
                    name: task.clone(),
                    known: all.iter().map(|experiment| experiment.task.name.clone()).collect(),
                }
            })
        };
        let experiments = combination.iter().map(find).collect::<Result<Vec<_>>>()?;
        if let Some(one) = experiments.iter().find(|one| one.task.training.quantize.is_some()) {
            let task = &one.task.name;
            return Err(Error::Usage(format!("`{task}`: adapters of a base in 4 bits are not merged here")));
        }
        let (mut keys, mut updates) = (Vec::new(), Vec::new());
        for experiment in &experiments {
            let key = queue.cell(experiment, seed)?;
            let file = AdapterFile::read(&queue.finished(&key).folder)?;
            updates.push(if is_selfcontained(&file)? {
                crate::updates::low_rank(&file)?
            } else {
                let folder = queue.folder().to_owned();
                let context = queue.context(experiment, seed, &Stage::default(), &folder)?;
                beside_base(&mut context.session.learner, &file)?
            });
            keys.push(key);
        }
        Ok(Self { experiments, keys, updates, seed, name: combination.join("+") })
    }

    /// The finished runs of the adapters by themselves.
    fn alone(&self, queue: &Queue<'_>) -> Vec<Run> {
        let renamed = |key: &String| {
            let mut run = queue.finished(key).run.clone();
            run.record.task = self.label(&run.record.task);
            run
        };
        self.keys.iter().map(renamed).collect()
    }

    /// Merges in one way with the weights that do best on the validation splits, and scores every task. Also says how long
    /// that took, where it was not there already.
    fn way(
        &self,
        queue: &mut Queue<'_>,
        plan: &MergePlan,
        how: &str,
    ) -> Result<(Vec<Run>, Choice, Option<f64>)> {
        let recipe = self.recipe(plan, how)?;
        let what = json!({
            "merged": how, "density": plan.density, "weights": plan.weights, "each": plan.search == Search::Each,
        });
        let search = |context: &mut Context<'_>| {
            let choice = choose(plan, self.keys.len(), |weights| {
                let scores = self.score(context, self.merge(&recipe, weights)?, Split::Validation)?;
                let mut sum = 0.0;
                for scored in &scores {
                    sum += scored.on_validation(&scored.metrics[0])?.unwrap_or(0.0);
                }
                Ok(sum / scores.len() as f64)
            })?;
            let scores = self.score(context, self.merge(&recipe, &choice.weights)?, Split::Test)?;
            Ok((choice, scores))
        };
        self.measured(queue, how, &what, search)
    }

    /// Merges in one way with one weight for all, whatever comes of it.
    fn with_weight(
        &self,
        queue: &mut Queue<'_>,
        plan: &MergePlan,
        how: &str,
        weight: f64,
    ) -> Result<Vec<Run>> {
        let recipe = self.recipe(plan, how)?;
        let what = json!({ "merged": how, "density": plan.density, "weight": weight });
        let choice = Choice::fixed(weight, self.keys.len());
        let score = |context: &mut Context<'_>| {
            let scores = self.score(context, self.merge(&recipe, &choice.weights)?, Split::Test)?;
            Ok((choice.clone(), scores))
        };
        Ok(self.measured(queue, &format!("{how}@{weight}"), &what, score)?.0)
    }

    /// Every adapter alone with the weight it has in a merge: what scaling by itself costs.
    fn scaled(&self, queue: &mut Queue<'_>, name: &str, choice: &Choice) -> Result<Vec<Run>> {
        let what = json!({ "scaled": choice.weights });
        let recipe = Recipe::named("cat", 1.0, Election::Total, None)?;
        let score = |context: &mut Context<'_>| {
            let mut scores = Vec::new();
            for (index, (updates, &weight)) in self.updates.iter().zip(&choice.weights).enumerate() {
                let alone = merge(&[Contribution { updates, weight }], &recipe, &Seeds::new(self.seed))?;
                scores.push(self.score(context, alone, Split::Test)?.swap_remove(index));
            }
            Ok((choice.clone(), scores))
        };
        Ok(self.measured(queue, name, &what, score)?.0)
    }

    /// As named, on whole updates where one of these is no product of two thin matrices.
    fn recipe(&self, plan: &MergePlan, how: &str) -> Result<Recipe> {
        let recipe = Recipe::named(how, plan.density, Election::Total, None)?;
        let mut all = self.updates.iter().flat_map(BTreeMap::values);
        Ok(if all.any(|update| matches!(update, Update::Dense(_))) { recipe.whole() } else { recipe })
    }

    fn merge(&self, recipe: &Recipe, weights: &[f64]) -> Result<Updates> {
        let contributions: Vec<_> = self
            .updates
            .iter()
            .zip(weights)
            .map(|(updates, &weight)| Contribution { updates, weight })
            .collect();
        Ok(merge(&contributions, recipe, &Seeds::new(self.seed).child("merge"))?)
    }

    /// The records of one way, found or made by `search`, which returns the weights and the score of every task; and how
    /// long that took, if it was not there.
    fn measured(
        &self,
        queue: &mut Queue<'_>,
        way: &str,
        what: &Value,
        search: impl FnOnce(&mut Context<'_>) -> Result<(Choice, Vec<Scored>)>,
    ) -> Result<(Vec<Run>, Choice, Option<f64>)> {
        let (cells, found) = (queue.cells().clone(), queue.finder());
        let records: Vec<RunRecord> =
            self.keys.iter().map(|key| queue.finished(key).run.record.clone()).collect();
        let folder = queue.folder().to_owned();
        let others = self.experiments[1..].iter().map(|experiment| &experiment.task).collect();
        let stage = Stage { others, ..Stage::default() };
        let mut context = queue.context(self.experiments[0], self.seed, &stage, &folder)?;
        let place = surroundings(&context);
        let key = |task: &str| CellKey::new(&json!([place, what, self.keys, task]));
        let keys: Vec<CellKey> = self.experiments.iter().map(|one| key(&one.task.name)).collect();
        let there: Option<Vec<(Run, StateDict)>> = keys.iter().map(&found).collect();
        if let Some(there) = there
            && let Some(choice) = there.first().and_then(|(_, kept)| Choice::from_tensors(kept))
        {
            return Ok((there.into_iter().map(|(run, _)| run).collect(), choice, None));
        }
        let started = Instant::now();
        let (choice, scores) = search(&mut context)?;
        let seconds = started.elapsed().as_secs_f64();
        let mut runs = Vec::new();
        for (index, scored) in scores.into_iter().enumerate() {
            let (experiment, trained) = (self.experiments[index], &records[index]);
            let info = experiment.method.info;
            let name = format!("{}-{way}", info.name);
            let mut record =
                RunRecord::new(Timestamp::now(), &name, &self.label(&experiment.task.name), self.seed);
            record::common(&mut record, experiment, &context);
            record.data.clone_from(&trained.data);
            info.family.clone_into(&mut record.family);
            record.variant =
                [info.variant, way].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
            record.config = experiment.to_json();
            record.config["stage"] = json!(self.name);
            record.config["merge"] = what.clone();
            record.parameters.clone_from(&trained.parameters);
            record.needs = records.iter().map(|record| record.id.clone()).collect();
            record.total = Total::of(&[], &records, Some(seconds));
            let (words, merges) = (choice.words(), choice.evaluations);
            record.notes.push(format!("weights {words}: {merges} merges tried, {seconds:.1} seconds in all"));
            record::score(&mut record, &scored)?;
            record.status = Status::Success;
            let mut run = Run { record, evidence: Evidence::Items(scored.outcomes) };
            // The choice is an outcome, not a setting: runs whose settings differ are not pooled.
            cells.save(&keys[index], &mut run, &choice.to_tensors())?;
            runs.push(run);
        }
        Ok((runs, choice, Some(seconds)))
    }

    /// Scores of `updates` on every task.
    fn score(&self, context: &mut Context<'_>, updates: Updates, split: Split) -> Result<Vec<Scored>> {
        let streams: Vec<Seeds> =
            self.experiments.iter().map(|one| seeds(self.seed, &one.task.name)).collect();
        score_updates(context, updates, &streams, split, &format!("in {}", self.name))
    }

    fn label(&self, task: &str) -> String {
        format!("{task} in {}", self.name)
    }

    /// How large the updates are and how far they point the same way, pair by pair.
    fn norms(&self) -> Result<Value> {
        let factors =
            |updates: &Updates| updates.iter().map(|(module, one)| (module.clone(), one.factors())).collect();
        let all: Vec<BTreeMap<String, Factors>> = self.updates.iter().map(factors).collect();
        let names: Vec<&str> = self.experiments.iter().map(|one| one.task.name.as_str()).collect();
        let mut pairs = Vec::new();
        for i in 0..all.len() {
            for j in i + 1..all.len() {
                let (total, _) = interference(&all[i], &all[j])?;
                pairs.push(json!({
                    "tasks": [names[i], names[j]],
                    "norms": total.norms,
                    "cosine": total.cosine,
                    "conflicts": total.conflicts,
                    "written": total.written,
                    "read": total.read,
                }));
            }
        }
        Ok(Value::Array(pairs))
    }
}
