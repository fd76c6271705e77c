//! The layout of what is analyzed: clusters of items × seeds.

/// Scores of one method on one metric: one row per cluster of items, one column per seed.
///
/// The mean is over all counted scores, so a cluster weighs as many items as it holds. A cell is empty where no item of
/// the cluster counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    seeds: usize,
    cells: Vec<Cell>,
    binary: bool,
}

/// The scores of one cluster under one seed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cell {
    /// Sum of the scores that count.
    pub sum: f64,
    /// How many count.
    pub count: u32,
}

impl Scores {
    /// Scores from `rows[cluster][seed]`, each a list of item scores.
    ///
    /// # Panics
    /// When rows differ in length.
    pub fn from_rows<R, C>(rows: R) -> Self
    where
        R: IntoIterator,
        R::Item: AsRef<[C]>,
        C: AsRef<[f64]>,
    {
        let mut scores = Self { seeds: 0, cells: Vec::new(), binary: true };
        for row in rows {
            let row = row.as_ref();
            assert!(
                scores.cells.is_empty() || row.len() == scores.seeds,
                "every cluster has a cell for every seed"
            );
            scores.seeds = row.len();
            for cell in row {
                let values = cell.as_ref();
                scores.binary &= values.iter().all(|v| [0.0, 1.0].contains(v));
                scores.cells.push(Cell { sum: values.iter().sum(), count: values.len() as u32 });
            }
        }
        scores
    }

    /// One seed, every item its own cluster.
    pub fn from_items(items: &[f64]) -> Self {
        Self::from_rows(items.iter().map(|&score| [[score]]))
    }

    /// Number of clusters.
    pub fn clusters(&self) -> usize {
        self.cells.len().checked_div(self.seeds).unwrap_or(0)
    }

    /// Number of seeds.
    pub fn seeds(&self) -> usize {
        self.seeds
    }

    /// Whether every score is 0 or 1.
    pub fn is_binary(&self) -> bool {
        self.binary
    }

    /// Whether every cluster has exactly one score under every seed.
    pub fn is_one_item_per_cell(&self) -> bool {
        self.cells.iter().all(|cell| cell.count == 1)
    }

    /// The cells of one cluster, by seed.
    pub fn row(&self, cluster: usize) -> &[Cell] {
        &self.cells[cluster * self.seeds..][..self.seeds]
    }

    /// All cells, cluster by cluster.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// Sum and count over everything.
    pub fn total(&self) -> Cell {
        sum(&self.cells)
    }

    /// Mean of all counted scores; NaN when there is none.
    pub fn mean(&self) -> f64 {
        self.total().mean()
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
        let cells =
            (0..self.clusters()).flat_map(|row| seeds.iter().map(move |&s| self.row(row)[s])).collect();
        Self { seeds: seeds.len(), cells, binary: self.binary }
    }

    /// The clusters for which something counts.
    #[must_use]
    pub fn without_empty(&self) -> Self {
        self.retain(|row| sum(self.row(row)).count > 0)
    }

    /// Two methods' scores on the clusters for which something counts on either side.
    pub(crate) fn without_empty_pairs(a: &Self, b: &Self) -> (Self, Self) {
        let keep = |row: usize| sum(a.row(row)).count + sum(b.row(row)).count > 0;
        (a.retain(keep), b.retain(keep))
    }

    fn retain(&self, keep: impl Fn(usize) -> bool) -> Self {
        let rows = (0..self.clusters()).filter(|&row| keep(row));
        Self {
            seeds: self.seeds,
            cells: rows.flat_map(|row| self.row(row).to_vec()).collect(),
            binary: self.binary,
        }
    }

    /// Contribution of every cell to the mean, centered: `C·S·(sum − count·mean) / n`, which averages to 0.
    ///
    /// This is the linearization of a ratio of sums, exact when every cell holds one score.
    pub(crate) fn deviations(&self) -> impl Iterator<Item = f64> + '_ {
        let total = self.total();
        let factor = self.cells.len() as f64 / f64::from(total.count);
        self.cells.iter().map(move |cell| factor * (cell.sum - f64::from(cell.count) * total.mean()))
    }
}

impl Cell {
    /// Mean of the cell; NaN when nothing counts.
    pub fn mean(self) -> f64 {
        self.sum / f64::from(self.count)
    }
}

/// Cells taken together.
pub(crate) fn sum<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> Cell {
    cells
        .into_iter()
        .fold(Cell::default(), |all, cell| Cell { sum: all.sum + cell.sum, count: all.count + cell.count })
}
