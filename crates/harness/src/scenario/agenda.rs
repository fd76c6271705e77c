//! Every cell of a grid once: methods × tasks × seeds × settings, with the runs that they need, in the order in which they are
//! run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Value, json};

use crate::Result;
use crate::cli::RunArgs;
use crate::config::{Experiment, Grid, Overlay, resolve_with};
use crate::queue::{Stage, base_key, cell_key};

/// What has to be run.
#[derive(Debug)]
pub struct Agenda {
    /// Every cell after the one that it needs.
    pub cells: Vec<Cell>,
    grid: Grid,
    /// The values of the axes, by point.
    points: Vec<Vec<toml::Value>>,
}

/// Something to be trained or scored.
#[derive(Debug)]
pub struct Cell {
    /// What of the experiment.
    pub subject: Subject,
    /// Task and method.
    pub experiment: Experiment,
    /// Seed.
    pub seed: u64,
    /// The place in the agenda of the cell that this one starts from.
    pub needs: Option<usize>,
    /// The points of the grid to which it belongs: several where an axis does not concern it.
    pub points: BTreeSet<usize>,
}

/// What of an experiment a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The unadapted model, scored.
    Base,
    /// The method, trained and scored.
    Method,
}

impl Cell {
    /// Whether the cell at `point` is not the one a step further along an axis of `length` values.
    fn differs(&self, point: usize, stride: usize, length: usize) -> bool {
        let along = (point / stride) % length;
        along + 1 < length && !self.points.contains(&(point + stride))
    }
}

impl Agenda {
    /// All cells of the methods, tasks and seeds of `args` with `settings` and, at each point of `grid`, the point's.
    ///
    /// # Errors
    /// As resolving; and for an axis that changes no cell.
    pub fn new(args: &RunArgs, grid: &Grid, settings: &Overlay) -> Result<Self> {
        let points = grid.points()?;
        // Misspelt settings show here, before anything runs.
        let experiments = points
            .iter()
            .map(|point| resolve_with(args, &[settings.clone(), point.settings.clone()]))
            .collect::<Result<Vec<_>>>()?;
        let values = points.into_iter().map(|point| point.values).collect();
        let mut agenda = Self { cells: Vec::new(), grid: grid.clone(), points: values };
        let mut known = BTreeMap::new();
        let tasks = experiments[0].chunk_by(|a, b| a.task.name == b.task.name);
        let mut from = 0;
        for length in tasks.map(<[Experiment]>::len) {
            for seed in args.all_seeds() {
                for (point, experiments) in experiments.iter().enumerate() {
                    for experiment in &experiments[from..from + length] {
                        agenda.add_base(experiment, seed, point, &mut known);
                        agenda.add(experiment, seed, point, &mut known);
                    }
                }
            }
            from += length;
        }
        agenda.check_axes()?;
        Ok(agenda)
    }

    /// The settings that are varied.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    fn add_base(
        &mut self,
        experiment: &Experiment,
        seed: u64,
        point: usize,
        known: &mut BTreeMap<String, usize>,
    ) {
        let identity = base_key(experiment, seed).to_string();
        self.place(identity, Subject::Base, experiment, seed, None, point, known);
    }

    fn add(
        &mut self,
        experiment: &Experiment,
        seed: u64,
        point: usize,
        known: &mut BTreeMap<String, usize>,
    ) -> usize {
        let needs = experiment.needed.as_ref().map(|needed| self.add(needed, seed, point, known));
        let identity = json!([experiment.to_json(), seed, needs]).to_string();
        self.place(identity, Subject::Method, experiment, seed, needs, point, known)
    }

    #[allow(clippy::too_many_arguments)]
    fn place(
        &mut self,
        identity: String,
        subject: Subject,
        experiment: &Experiment,
        seed: u64,
        needs: Option<usize>,
        point: usize,
        known: &mut BTreeMap<String, usize>,
    ) -> usize {
        let place = *known.entry(identity).or_insert_with(|| {
            let experiment = experiment.clone();
            self.cells.push(Cell { subject, experiment, seed, needs, points: BTreeSet::new() });
            self.cells.len() - 1
        });
        self.cells[place].points.insert(point);
        place
    }

    /// An axis without effect is a mistake: something stronger decides, or nothing has this setting.
    fn check_axes(&self) -> Result<()> {
        for (position, (key, values)) in self.grid.axes().iter().enumerate() {
            let stride = self.grid.stride(position);
            let differ =
                |cell: &Cell| cell.points.iter().any(|point| cell.differs(*point, stride, values.len()));
            if values.len() > 1 && !self.cells.iter().any(differ) {
                let hint = "no method or task of this sweep has that setting, or `--set`, `--config` or a flag decides it";
                return Err(self.grid.at(key, format!("`{key}` changes nothing"), hint));
            }
        }
        Ok(())
    }

    /// The value of each axis for a cell; none where the cell is the same for several.
    pub fn values<'a>(&'a self, cell: &'a Cell) -> impl Iterator<Item = Option<String>> {
        (0..self.grid.axes().len()).map(|axis| {
            let mut values = cell.points.iter().map(|point| &self.points[*point][axis]);
            let first = values.next()?;
            values.all(|value| value == first).then(|| shown(first))
        })
    }

    /// `nlu · lora · seed 0 · rank = 4`.
    pub fn label(&self, cell: &Cell) -> String {
        let task = &cell.experiment.task.name;
        let mut label = match cell.subject {
            Subject::Base => format!("{task} · {}", compare::BASE),
            Subject::Method => format!("{task} · {} · seed {}", cell.experiment.method.info.name, cell.seed),
        };
        for (name, value) in self.axis_names().iter().zip(self.values(cell)) {
            if let Some(value) = value {
                let _ = write!(label, " · {name} = {value}");
            }
        }
        label
    }

    /// The axes by the last word of their keys, where that says which is meant.
    pub fn axis_names(&self) -> Vec<&str> {
        fn last(key: &str) -> &str {
            key.rsplit('.').next().unwrap_or(key)
        }
        let is_plain = |key: &str| self.grid.keys().filter(|other| last(other) == last(key)).count() == 1;
        self.grid.keys().map(|key| if is_plain(key) { last(key) } else { key }).collect()
    }

    /// Which cells are finished, of those whose keys were made from `described`, as [`crate::cells::Cells::described`] has them.
    /// Model and data are not looked at.
    pub fn finished(&self, described: &BTreeMap<String, [Value; 2]>) -> Vec<bool> {
        let mut keys: Vec<Vec<&String>> = Vec::new();
        for cell in &self.cells {
            let is_own = |what: &Value| match (cell.subject, cell.needs) {
                (Subject::Base, _) => *what == base_key(&cell.experiment, cell.seed),
                (Subject::Method, None) => {
                    *what == cell_key(&cell.experiment, cell.seed, &Stage::default(), &[])
                }
                (Subject::Method, Some(needs)) => keys[needs].iter().any(|key| {
                    *what == cell_key(&cell.experiment, cell.seed, &Stage::default(), &[(*key).clone()])
                }),
            };
            keys.push(described.iter().filter(|(_, [_, what])| is_own(what)).map(|(key, _)| key).collect());
        }
        keys.iter().map(|keys| !keys.is_empty()).collect()
    }
}

/// Rates as people write them: 1e-5, 0.001.
fn shown(value: &toml::Value) -> String {
    match value.as_float() {
        Some(number) if number != 0.0 && !(1e-4..1e6).contains(&number.abs()) => format!("{number:e}"),
        _ => value.to_string(),
    }
}
