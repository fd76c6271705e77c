//! One method on one task, its seeds pooled.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use crate::columns;
use crate::comparable::{check_finished, check_metric, check_pool, check_task, different};
use crate::error::{Error, Result};
use crate::metric::{Aggregate, MetricValue, Scale};
use crate::outcome::{Outcome, Split};
use crate::record::RunRecord;
use crate::run::{Evidence, Run};
use crate::stats::proportions::Proportion;
use crate::stats::{Interval, Sample, Scores, Settings, Statistic, interval, nonlinear, wilson};

/// How often a result was made from scratch. Every table shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// The unadapted model, which no seed changes.
    Untrained,
    /// One seed: intervals and tests cover the choice of items, not of the seed.
    OneSeed,
    /// Several seeds, this many.
    Seeds(usize),
}

/// One method on one task, its seeds pooled.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// The runs, by seed.
    pub runs: Vec<&'a Run>,
}

/// One metric of an entry.
#[derive(Clone, Debug)]
pub struct Pooled {
    /// Name, version and definition; the value is the mean over the items of all seeds, or of the seeds' statistics.
    pub metric: MetricValue,
    /// Interval of the value, where there is evidence for one.
    pub interval: Option<Interval>,
    /// What comparisons work with.
    pub basis: Basis,
}

/// What comparisons with other entries can work with.
#[derive(Clone, Debug)]
pub enum Basis {
    /// Scores by cluster (in the order of their names) and seed; clusters that do not count have empty cells.
    Scores(Scores),
    /// Columns of items by cluster and seed, for a statistic that is no mean.
    Sample(Sample),
    /// A proportion of so many items.
    Proportion(Proportion),
    /// Nothing but the value.
    Value,
}

/// Groups runs by task and method: tasks and methods in order of appearance, the unadapted model first.
///
/// # Errors
/// [`Error::NotFinished`]; [`Error::Duplicate`] for two runs with one seed; [`Error::DifferentItems`] when runs of a
/// task differ in suite, model, test data or items, or seeds of a method in their configuration.
pub fn entries(runs: &[Run]) -> Result<Vec<Entry<'_>>> {
    let mut tasks: IndexMap<&str, IndexMap<&str, Vec<&Run>>> = IndexMap::new();
    for run in runs {
        check_finished(&run.record)?;
        tasks.entry(&run.record.task).or_default().entry(&run.record.method).or_default().push(run);
    }
    let mut all = Vec::new();
    for methods in tasks.into_values() {
        let mut of_task: Vec<Entry<'_>> = methods.into_values().map(Entry::new).collect::<Result<_>>()?;
        of_task.sort_by_key(|entry| !entry.record().is_base());
        check_one_task(&of_task)?;
        all.extend(of_task);
    }
    Ok(all)
}

/// Runs of one task saw the same model, data and items.
pub(crate) fn check_one_task(entries: &[Entry<'_>]) -> Result<()> {
    let runs = || entries.iter().flat_map(|entry| &entry.runs);
    let Some(first) = runs().next() else { return Ok(()) };
    for run in runs() {
        check_task(&first.record, &run.record)?;
    }
    let mut items: Option<(&Run, BTreeSet<Key<'_>>)> = None;
    for run in runs() {
        let Evidence::Items(outcomes) = &run.evidence else { continue };
        let keys: BTreeSet<_> = test_items(outcomes).map(Key::of).collect();
        if keys.len() != test_items(outcomes).count() {
            let reason = "two of its outcomes are of one item".to_owned();
            return Err(Error::Record { id: run.record.id.clone(), reason });
        }
        match &items {
            None => items = Some((*run, keys)),
            Some((first, expected)) if *expected != keys => {
                let odd = expected.symmetric_difference(&keys).next().expect("the sets differ");
                let reason = format!("only one of them has test item `{}`", odd.item);
                return Err(different(&first.record, &run.record, reason));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Items are known by their id and the cluster they are in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    cluster: Option<&'a str>,
    item: &'a str,
}

impl<'a> Key<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        Self { cluster: outcome.cluster.as_deref(), item: &outcome.id }
    }

    /// What is resampled together: the cluster, or the item alone.
    fn unit(self) -> (Option<&'a str>, &'a str) {
        (self.cluster, if self.cluster.is_some() { "" } else { self.item })
    }
}

fn test_items(outcomes: &[Outcome]) -> impl Iterator<Item = &Outcome> {
    outcomes.iter().filter(|outcome| outcome.split == Split::Test)
}

impl<'a> Entry<'a> {
    fn new(mut runs: Vec<&'a Run>) -> Result<Self> {
        runs.sort_by_key(|run| run.record.seed);
        for pair in runs.windows(2) {
            let (a, b) = (&pair[0].record, &pair[1].record);
            if a.seed == b.seed {
                return Err(Error::Duplicate {
                    method: a.method.clone(),
                    task: a.task.clone(),
                    seed: a.seed,
                    first: a.id.clone(),
                    second: b.id.clone(),
                });
            }
            check_pool(a, b)?;
        }
        Ok(Self { runs })
    }

    /// The record of the first seed; what identifies the entry is the same in all.
    pub fn record(&self) -> &'a RunRecord {
        &self.runs[0].record
    }

    /// The seeds, ascending.
    pub fn seeds(&self) -> Vec<u64> {
        self.runs.iter().map(|run| run.record.seed).collect()
    }

    /// How often the result was made.
    pub fn replication(&self) -> Replication {
        match self.runs.len() {
            _ if self.record().is_base() => Replication::Untrained,
            1 => Replication::OneSeed,
            seeds => Replication::Seeds(seeds),
        }
    }

    /// The largest value among the seeds; `None` when one is unknown.
    pub fn largest<T: PartialOrd>(&self, value: impl Fn(&RunRecord) -> Option<T>) -> Option<T> {
        let values = self.runs.iter().map(|run| value(&run.record)).collect::<Option<Vec<T>>>()?;
        values.into_iter().reduce(|a, b| if b > a { b } else { a })
    }

    /// The mean over the seeds; `None` when one is unknown.
    pub fn mean(&self, value: impl Fn(&RunRecord) -> Option<f64>) -> Option<f64> {
        let sum = self.runs.iter().map(|run| value(&run.record)).sum::<Option<f64>>()?;
        Some(sum / self.runs.len() as f64)
    }

    /// Pools one metric; `None` when the entry does not have it.
    ///
    /// # Errors
    /// [`Error::MixedMetric`] when seeds were scored by different rules; [`Error::Record`] when a seed lacks the
    /// metric, or its value is not what its outcomes give; [`Error::Item`] for an item without a column of a statistic.
    pub fn pooled(&self, metric: &str, settings: &Settings) -> Result<Option<Pooled>> {
        let values: Vec<_> =
            self.runs.iter().filter_map(|run| Some((*run, run.record.metric(metric)?))).collect();
        let Some((first, definition)) = values.first().copied() else { return Ok(None) };
        if let Some(run) = self.runs.iter().find(|run| run.record.metric(metric).is_none()) {
            let reason = format!("it lacks metric `{metric}`, which run `{}` has", first.record.id);
            return Err(Error::Record { id: run.record.id.clone(), reason });
        }
        for (run, value) in &values {
            check_metric((&first.record, definition), (&run.record, value))?;
        }
        let mean = values.iter().map(|(_, m)| m.value).sum::<f64>() / values.len() as f64;
        let items = values.iter().map(|(_, m)| m.items).min().flatten();
        let mut pooled = Pooled {
            metric: MetricValue { value: mean, items, ..definition.clone() },
            interval: None,
            basis: Basis::Value,
        };
        let outcomes: Option<Vec<&[Outcome]>> = self.runs.iter().map(|run| run.outcomes()).collect();
        match (outcomes, definition.aggregate.statistic()) {
            (Some(outcomes), Some(statistic)) => {
                self.add_sample(&mut pooled, statistic, &outcomes, settings)?;
            }
            (Some(outcomes), None) if definition.aggregate == Aggregate::Mean => {
                self.add_scores(&mut pooled, &outcomes, settings)?;
            }
            (None, _) if (definition.aggregate, definition.scale) == (Aggregate::Mean, Scale::Fraction) => {
                if let Some(n) = items.filter(|&n| n > 0).map(|n| n as f64) {
                    pooled.interval = Some(wilson(mean * n, n, settings.confidence));
                    pooled.basis = Basis::Proportion(Proportion { value: mean, n });
                }
            }
            _ => {}
        }
        Ok(Some(pooled))
    }

    fn add_scores(&self, pooled: &mut Pooled, outcomes: &[&[Outcome]], settings: &Settings) -> Result<()> {
        let name = &pooled.metric.name;
        let (rows, items) = self.rows(outcomes, |outcome| Ok(outcome.scores.get(name).copied()))?;
        let scores = Scores::from_rows(rows);
        self.check_recorded(name, |seed| scores.of_seed(seed).mean())?;
        pooled.metric.value = scores.mean();
        pooled.metric.items = Some(items);
        pooled.interval = interval::of_mean(&scores.without_empty(), settings);
        pooled.basis = Basis::Scores(scores);
        Ok(())
    }

    fn add_sample(
        &self,
        pooled: &mut Pooled,
        statistic: Statistic,
        outcomes: &[&[Outcome]],
        settings: &Settings,
    ) -> Result<()> {
        let name = &pooled.metric.name;
        let (rows, items) = self.rows(outcomes, |outcome| columns::read(statistic, name, outcome))?;
        let sample = Sample::from_rows(statistic, rows);
        self.check_recorded(name, |seed| sample.of_seed(seed).value())?;
        pooled.metric.value = sample.value();
        pooled.metric.items = Some(items);
        pooled.interval = nonlinear::interval(&sample, settings);
        pooled.basis = Basis::Sample(sample);
        Ok(())
    }

    /// What counts, by cluster (in the order of their names) and seed, and the number of distinct items.
    fn rows<T>(
        &self,
        outcomes: &[&[Outcome]],
        score: impl Fn(&Outcome) -> Result<Option<T>>,
    ) -> Result<(Vec<Vec<Vec<T>>>, u64)> {
        let mut rows: BTreeMap<_, Vec<Vec<T>>> = BTreeMap::new();
        let mut counted = BTreeSet::new();
        for (seed, outcomes) in outcomes.iter().enumerate() {
            for outcome in test_items(outcomes) {
                let row = rows
                    .entry(Key::of(outcome).unit())
                    .or_insert_with(|| self.runs.iter().map(|_| Vec::new()).collect());
                if let Some(score) = score(outcome)? {
                    row[seed].push(score);
                    counted.insert(&outcome.id);
                }
            }
        }
        Ok((rows.into_values().collect(), counted.len() as u64))
    }

    /// The recorded values are those the outcomes give.
    fn check_recorded(&self, metric: &str, measured: impl Fn(usize) -> f64) -> Result<()> {
        for (seed, run) in self.runs.iter().enumerate() {
            let recorded = run.record.metric(metric).expect("every seed has the metric").value;
            let measured = measured(seed);
            if !agrees(recorded, measured) {
                let reason =
                    format!("`{metric}` is recorded as {recorded}, but its outcomes give {measured}");
                return Err(Error::Record { id: run.record.id.clone(), reason });
            }
        }
        Ok(())
    }
}

/// Whether a recorded value and a measured one differ by no more than the order of summation.
fn agrees(recorded: f64, measured: f64) -> bool {
    const SUMMATION: f64 = 1e-9;
    (recorded - measured).abs() <= SUMMATION * recorded.abs().max(1.0)
}
