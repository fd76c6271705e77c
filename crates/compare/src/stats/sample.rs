//! The layout of what a statistic is computed from: clusters of items × seeds, each item with columns.

use std::ops::Range;

use super::cells::Cells;
use super::statistic::Statistic;

/// The items of one method for one statistic: one row per cluster of items, one column per seed.
///
/// The value under several seeds is the mean of the seeds' values. A cell is empty where no item of the cluster counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub(super) statistic: Statistic,
    seeds: usize,
    /// Items of cell `i` are `starts[i]..starts[i + 1]`.
    starts: Vec<usize>,
    /// The columns of every item, item by item.
    pub(super) values: Vec<f64>,
}

impl Sample {
    /// A sample from `rows[cluster][seed]`, each a list of items, each the columns of the statistic in their order.
    ///
    /// # Panics
    /// When rows differ in length, or an item has other columns than the statistic.
    pub fn from_rows<I: AsRef<[f64]>>(
        statistic: Statistic,
        rows: impl IntoIterator<Item = impl AsRef<[Vec<I>]>>,
    ) -> Self {
        let mut sample = Self { statistic, seeds: 0, starts: vec![0], values: Vec::new() };
        for row in rows {
            let row = row.as_ref();
            assert!(
                sample.starts.len() == 1 || row.len() == sample.seeds,
                "every cluster has a cell for every seed"
            );
            sample.seeds = row.len();
            for cell in row {
                sample.push(cell.iter().flat_map(|item| {
                    assert_eq!(item.as_ref().len(), statistic.columns().len(), "an item has every column");
                    item.as_ref().iter().copied()
                }));
            }
        }
        sample
    }

    /// Number of clusters.
    pub fn clusters(&self) -> usize {
        (self.starts.len() - 1).checked_div(self.seeds).unwrap_or(0)
    }

    /// Number of seeds.
    pub fn seeds(&self) -> usize {
        self.seeds
    }

    /// Number of cells.
    pub(super) fn cells(&self) -> usize {
        self.starts.len() - 1
    }

    /// The mean of the seeds' values; NaN when a seed has none.
    pub fn value(&self) -> f64 {
        let cells = Cells::new(self);
        let mut scratch = cells.scratch();
        let seeds = (0..self.seeds).map(|seed| cells.value(cells.column(seed), &mut scratch));
        seeds.sum::<f64>() / self.seeds as f64
    }

    /// One seed alone.
    ///
    /// # Panics
    /// When there is no such seed.
    #[must_use]
    pub fn of_seed(&self, seed: usize) -> Self {
        self.columns(&[seed])
    }

    /// Some of the seeds.
    pub(crate) fn columns(&self, seeds: &[usize]) -> Self {
        self.select(0..self.clusters(), seeds)
    }

    /// The clusters for which something counts.
    #[must_use]
    pub(crate) fn without_empty(&self) -> Self {
        let seeds: Vec<usize> = (0..self.seeds).collect();
        self.select((0..self.clusters()).filter(|&row| self.counts(row)), &seeds)
    }

    /// The seeds of `a`, then those of `b`, on the clusters for which something counts on either side.
    ///
    /// # Panics
    /// When the shapes or the statistics differ.
    pub(super) fn beside(a: &Self, b: &Self) -> Self {
        let shape = |s: &Self| (s.statistic, s.clusters(), s.seeds);
        assert_eq!(shape(a), shape(b), "paired samples have one shape");
        let mut both = Self { seeds: 2 * a.seeds, starts: vec![0], values: Vec::new(), ..*a };
        for row in (0..a.clusters()).filter(|&row| a.counts(row) || b.counts(row)) {
            for sample in [a, b] {
                for seed in 0..a.seeds {
                    both.push(sample.cell(row * a.seeds + seed).iter().copied());
                }
            }
        }
        both
    }

    fn select(&self, rows: impl Iterator<Item = usize>, seeds: &[usize]) -> Self {
        let mut selected = Self { seeds: seeds.len(), starts: vec![0], values: Vec::new(), ..*self };
        for row in rows {
            for seed in seeds {
                selected.push(self.cell(row * self.seeds + seed).iter().copied());
            }
        }
        selected
    }

    fn push(&mut self, cell: impl Iterator<Item = f64>) {
        self.values.extend(cell);
        self.starts.push(self.values.len() / self.width());
    }

    pub(super) fn width(&self) -> usize {
        self.statistic.columns().len()
    }

    pub(super) fn items(&self, cell: usize) -> Range<usize> {
        self.starts[cell]..self.starts[cell + 1]
    }

    /// The columns of the items of a cell.
    pub(super) fn cell(&self, cell: usize) -> &[f64] {
        let Range { start, end } = self.items(cell);
        &self.values[start * self.width()..end * self.width()]
    }

    /// Whether a cluster has an item under any seed.
    fn counts(&self, row: usize) -> bool {
        self.starts[row * self.seeds] < self.starts[(row + 1) * self.seeds]
    }
}
