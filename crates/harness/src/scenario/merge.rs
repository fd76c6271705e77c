//! Adapters of single tasks, merged and scored on each of their tasks, beside what each scores alone.

use std::collections::BTreeMap;
use std::time::Instant;

use compare::{Evidence, Run, RunRecord, Status, Total};
use jiff::Timestamp;
use merging::{Contribution, Election, Factors, Recipe, interference, merge, updates};
use peft_core::peft_file::AdapterFile;
use peft_core::{Seeds, StateDict};
use serde_json::{Value, json};
use tasks::Split;
use tch::Tensor;

use crate::cells::{CellKey, surroundings};
use crate::config::{Experiment, MergePlan};
use crate::evaluate::Scored;
use crate::queue::{Queue, Stage};
use crate::run::{Context, seeds};
use crate::scenario::score_adapter;
use crate::{Error, Result, record};

/// What a cell keeps of a merge.
const WEIGHT: &str = "weight";

/// The adapters of one combination: one method, one seed, a task each.
struct Group<'a> {
    experiments: Vec<&'a Experiment>,
    keys: Vec<String>,
    files: Vec<AdapterFile>,
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
) -> Result<(Vec<Run>, Value)> {
    let (mut runs, mut notes) = (Vec::new(), Vec::new());
    for combination in &plan.combinations {
        let group = Group::train(queue, experiments, combination, seed)?;
        let method = group.experiments[0].method.info;
        runs.extend(group.alone(queue));
        let mut chosen = BTreeMap::new();
        for how in plan.ways(method.name) {
            let (of_way, weight) = group.way(queue, plan, how)?;
            chosen.insert(how.clone(), weight);
            runs.extend(of_way);
        }
        if let Some(&weight) = chosen.get("cat") {
            runs.extend(group.scaled(queue, weight)?);
        }
        notes.push(json!({
            "method": method.name,
            "seed": seed,
            "combination": group.name,
            "weights": chosen,
            "adapters": group.norms()?,
        }));
    }
    Ok((runs, Value::Array(notes)))
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
        let (mut keys, mut files) = (Vec::new(), Vec::new());
        for experiment in &experiments {
            let key = queue.cell(experiment, seed)?;
            files.push(AdapterFile::read(&queue.finished(&key).folder)?);
            keys.push(key);
        }
        Ok(Self { experiments, keys, files, seed, name: combination.join("+") })
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

    /// Merges in one way with the weight that does best on the validation splits, and scores every task.
    fn way(&self, queue: &mut Queue<'_>, plan: &MergePlan, how: &str) -> Result<(Vec<Run>, f64)> {
        let recipe = Recipe::named(how, plan.density, Election::Total, None)?;
        let merged = |weight| self.merge(&(0..self.files.len()).collect::<Vec<_>>(), &recipe, weight);
        let what = json!({ "merged": how, "density": plan.density, "weights": plan.weights });
        let search = |context: &mut Context<'_>| {
            let mut best: Option<(f64, f64)> = None;
            for &weight in &plan.weights {
                let scores = self.score(context, &merged(weight)?, Split::Validation)?;
                let mut sum = 0.0;
                for scored in &scores {
                    sum += scored.on_validation(&scored.metrics[0])?.unwrap_or(0.0);
                }
                let mean = sum / scores.len() as f64;
                if best.is_none_or(|(_, known)| mean > known) {
                    best = Some((weight, mean));
                }
            }
            let (weight, _) = best.expect("a weight at least");
            Ok((weight, self.score(context, &merged(weight)?, Split::Test)?))
        };
        self.measured(queue, how, &what, search)
    }

    /// Every adapter alone with the weight it has in a merge: what scaling by itself costs.
    fn scaled(&self, queue: &mut Queue<'_>, weight: f64) -> Result<Vec<Run>> {
        let what = json!({ "scaled": weight });
        let search = |context: &mut Context<'_>| {
            let mut scores = Vec::new();
            for index in 0..self.files.len() {
                let alone =
                    self.merge(&[index], &Recipe::named("cat", 1.0, Election::Total, None)?, weight)?;
                scores.push(self.score(context, &alone, Split::Test)?.swap_remove(index));
            }
            Ok((weight, scores))
        };
        Ok(self.measured(queue, "scaled", &what, search)?.0)
    }

    fn merge(&self, which: &[usize], recipe: &Recipe, weight: f64) -> Result<AdapterFile> {
        let contributions: Vec<_> =
            which.iter().map(|&index| Contribution { file: &self.files[index], weight }).collect();
        Ok(merge(&contributions, recipe, &Seeds::new(self.seed).child("merge"))?.0.as_read())
    }

    /// The records of one way, found or made by `search`, which returns the weight and the score of every task.
    fn measured(
        &self,
        queue: &mut Queue<'_>,
        way: &str,
        what: &Value,
        search: impl FnOnce(&mut Context<'_>) -> Result<(f64, Vec<Scored>)>,
    ) -> Result<(Vec<Run>, f64)> {
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
        if let Some(there) = there {
            let weight = there[0].1.get(WEIGHT).map_or(1.0, |weight| weight.double_value(&[]));
            return Ok((there.into_iter().map(|(run, _)| run).collect(), weight));
        }
        let started = Instant::now();
        let (weight, scores) = search(&mut context)?;
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
            record.notes.push(format!("weight {weight}, chosen in {seconds:.1} seconds"));
            record::score(&mut record, &scored)?;
            record.status = Status::Success;
            let mut run = Run { record, evidence: Evidence::Items(scored.outcomes) };
            // The choice is an outcome, not a setting: runs whose settings differ are not pooled.
            let chosen = StateDict::from([(WEIGHT.to_owned(), Tensor::from(weight))]);
            cells.save(&keys[index], &mut run, &chosen)?;
            runs.push(run);
        }
        Ok((runs, weight))
    }

    /// Scores of the adapter in `file` on every task.
    fn score(&self, context: &mut Context<'_>, file: &AdapterFile, split: Split) -> Result<Vec<Scored>> {
        let streams: Vec<Seeds> =
            self.experiments.iter().map(|one| seeds(self.seed, &one.task.name)).collect();
        score_adapter(context, file, &streams, split, &format!("in {}", self.name))
    }

    fn label(&self, task: &str) -> String {
        format!("{task} in {}", self.name)
    }

    /// How large the updates are and how far they point the same way, pair by pair.
    fn norms(&self) -> Result<Value> {
        let all: Vec<BTreeMap<String, Factors>> =
            self.files.iter().map(|file| Ok(updates(file)?)).collect::<Result<_>>()?;
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
