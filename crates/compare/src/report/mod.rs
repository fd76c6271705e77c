//! A report of any set of runs: one HTML page that needs no network, tables for papers and programs, plots as files.

mod command;
mod details;
mod figures;
mod page;

pub use command::quoted;

use std::fs;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use crate::entry::{Entry, entries};
use crate::error::{Error, Result};
use crate::plot::Figure;
use crate::ranking::{Ranking, rank_all};
use crate::run::{LeftOut, Selection};
use crate::stats::Settings;
use crate::store::{Existing, write_atomically};
use crate::table::{Table, csv, latex, markdown, results, tests};

/// A report of runs.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    entries: Vec<Entry<'a>>,
    rankings: Vec<Ranking<'a>>,
    left_out: &'a [LeftOut],
    settings: Settings,
    figures: Figures,
}

/// The figures of a report.
#[derive(Clone, Debug, Default)]
struct Figures {
    /// All scores at a glance, where there are several tasks.
    overview: Option<Figure>,
    /// For each ranking: scores against costs, then curves.
    tasks: Vec<Vec<Figure>>,
    /// Accuracy matrices, each with the position of its entry.
    sequences: Vec<(usize, Figure)>,
}

impl<'a> Report<'a> {
    /// Compares the runs of a selection; see [`crate::distinct`] and [`crate::latest`] for making one from any set.
    ///
    /// # Errors
    /// [`Error::NoRuns`] for an empty selection, and those of [`entries`] and [`rank_all`].
    pub fn new(selection: &'a Selection, settings: &Settings) -> Result<Self> {
        let entries = entries(&selection.runs)?;
        if entries.is_empty() {
            return Err(Error::NoRuns);
        }
        let rankings = rank_all(&entries, settings)?;
        let mut colors = IndexMap::new();
        for record in entries.iter().map(Entry::record).filter(|record| !record.is_base()) {
            let next = colors.len();
            colors.entry(record.method.clone()).or_insert(next);
        }
        let mut figures = Figures {
            overview: (rankings.len() > 1).then(|| figures::overview(&rankings)),
            tasks: rankings.iter().map(|ranking| figures::of_task(ranking, &colors)).collect(),
            sequences: figures::sequences(&entries, settings),
        };
        number_equal_names(&mut figures);
        Ok(Self { entries, rankings, left_out: &selection.left_out, settings: *settings, figures })
    }

    /// Each method on each task, seeds pooled.
    pub fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// Scores with intervals, ties and costs.
    pub fn results(&self) -> Table {
        results(&self.rankings)
    }

    /// The tests between all pairs of methods of each task.
    pub fn tests(&self) -> Table {
        tests(&self.rankings)
    }

    /// Every figure.
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        let Figures { overview, tasks, sequences } = &self.figures;
        overview.iter().chain(tasks.iter().flatten()).chain(sequences.iter().map(|(_, figure)| figure))
    }

    /// The page: everything in one HTML file, readable without network, server or scripts.
    pub fn html(&self) -> String {
        page::render(self)
    }

    /// Writes `report.html`, `results` and `tests` as `.md`, `.tex` and `.csv`, and `plots/*.svg` and `*.png`; returns
    /// the paths. Each file is whole or not there, and replaces an older one.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Csv`].
    pub fn write(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let plots = folder.join("plots");
        fs::create_dir_all(&plots).map_err(Error::io("create", &plots))?;
        let mut files = vec![(folder.join("report.html"), self.html().into_bytes())];
        for (name, table) in [("results", self.results()), ("tests", self.tests())] {
            files.push((folder.join(format!("{name}.md")), markdown(&table).into_bytes()));
            files.push((folder.join(format!("{name}.tex")), latex(&table).into_bytes()));
            files.push((folder.join(format!("{name}.csv")), csv(&table)?.into_bytes()));
        }
        for figure in self.figures() {
            files.push((plots.join(format!("{}.svg", figure.name)), figure.svg().into_bytes()));
            files.push((plots.join(format!("{}.png", figure.name)), figure.png()));
        }
        for (path, bytes) in &files {
            write_atomically(path, bytes, Existing::Replace)?;
        }
        Ok(files.into_iter().map(|(path, _)| path).collect())
    }
}

/// Figures whose names are equal once they are fit for files get a number.
fn number_equal_names(figures: &mut Figures) {
    let Figures { overview, tasks, sequences } = figures;
    let all =
        overview.iter_mut().chain(tasks.iter_mut().flatten()).chain(sequences.iter_mut().map(|(_, f)| f));
    let mut seen: IndexMap<String, usize> = IndexMap::new();
    for figure in all {
        let count = seen.entry(figure.name.clone()).or_insert(0);
        *count += 1;
        if *count > 1 {
            figure.name = format!("{}-{count}", figure.name);
        }
    }
}
