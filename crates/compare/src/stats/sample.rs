//! The layout of what a statistic is computed from: clusters of items × seeds, each item with columns.

use std::f64::consts::LN_2;
use std::ops::Range;

use super::statistic::{Statistic, bleu, matthews, mid_ranks, pearson, ratio};

/// The items of one method for one statistic: one row per cluster of items, one column per seed.
///
/// The value under several seeds is the mean of the seeds' values. A cell is empty where no item of the cluster counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    statistic: Statistic,
    seeds: usize,
    /// Items of cell `i` are `starts[i]..starts[i + 1]`.
    starts: Vec<usize>,
    /// The columns of every item, item by item.
    values: Vec<f64>,
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

    fn width(&self) -> usize {
        self.statistic.columns().len()
    }

    fn items(&self, cell: usize) -> Range<usize> {
        self.starts[cell]..self.starts[cell + 1]
    }

    /// The columns of the items of a cell.
    fn cell(&self, cell: usize) -> &[f64] {
        let Range { start, end } = self.items(cell);
        &self.values[start * self.width()..end * self.width()]
    }

    /// Whether a cluster has an item under any seed.
    fn counts(&self, row: usize) -> bool {
        self.starts[row * self.seeds] < self.starts[(row + 1) * self.seeds]
    }

    /// The sums of the columns of every cell.
    fn sums(&self) -> Vec<f64> {
        let mut sums = Vec::new();
        for cell in (0..self.starts.len() - 1).map(|cell| self.cell(cell)) {
            let column = |column| cell.iter().skip(column).step_by(self.width()).sum::<f64>();
            sums.extend((0..self.width()).map(column));
        }
        sums
    }

    fn pairs(&self) -> Data {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        values.dedup();
        let place = |value: f64| values.partition_point(|&other| other < value) as u32;
        let pairs = self.values.chunks(2).map(|pair| Pair {
            gold: pair[0],
            predicted: pair[1],
            gold_place: place(pair[0]),
            predicted_place: place(pair[1]),
        });
        Data::Pairs { pairs: pairs.collect(), distinct: values.len() }
    }
}

/// A sample made ready to compute its statistic for any choice of cells, thousands of times.
pub(super) struct Cells<'a> {
    sample: &'a Sample,
    data: Data,
}

enum Data {
    /// Each cell's sums of the columns, and what the statistic makes of sums over cells.
    Sums { sums: Vec<f64>, value: fn(&[f64]) -> f64 },
    /// Each item's pair.
    Pairs {
        pairs: Vec<Pair>,
        /// Number of different values on either side.
        distinct: usize,
    },
}

/// True and predicted value of an item, with their places among all values of the sample.
#[derive(Clone, Copy)]
struct Pair {
    gold: f64,
    predicted: f64,
    gold_place: u32,
    predicted_place: u32,
}

/// What one evaluation writes to, kept to be used again.
#[derive(Clone)]
pub(super) struct Scratch {
    sums: Vec<f64>,
    counts: [Vec<u32>; 2],
    ranks: [Vec<f64>; 2],
}

impl<'a> Cells<'a> {
    pub(super) fn new(sample: &'a Sample) -> Self {
        let sums = |value| Data::Sums { sums: sample.sums(), value };
        let data = match sample.statistic {
            Statistic::Bleu => sums(bleu),
            Statistic::Perplexity => sums(|sums| ratio(sums).exp()),
            Statistic::BitsPerCharacter => sums(|sums| ratio(sums) / LN_2),
            Statistic::NatsPerToken => sums(ratio),
            Statistic::Matthews | Statistic::F1 | Statistic::Pearson | Statistic::Spearman => sample.pairs(),
        };
        Self { sample, data }
    }

    pub(super) fn clusters(&self) -> usize {
        self.sample.clusters()
    }

    /// Columns of the sample: its seeds.
    pub(super) fn columns(&self) -> usize {
        self.sample.seeds
    }

    /// The cells of one column.
    pub(super) fn column(&self, column: usize) -> impl Iterator<Item = usize> + Clone + use<> {
        (column..self.sample.starts.len() - 1).step_by(self.sample.seeds)
    }

    /// Whether two cells hold the same.
    pub(super) fn same(&self, a: usize, b: usize) -> bool {
        self.sample.cell(a) == self.sample.cell(b)
    }

    pub(super) fn scratch(&self) -> Scratch {
        let (width, distinct) = match &self.data {
            Data::Sums { .. } => (self.sample.width(), 0),
            Data::Pairs { distinct, .. } => (0, *distinct),
        };
        Scratch {
            sums: vec![0.0; width],
            counts: [vec![0; distinct], vec![0; distinct]],
            ranks: [vec![0.0; distinct], vec![0.0; distinct]],
        }
    }

    /// The statistic of the items in `cells`, of which one may come several times; NaN where it has no value.
    pub(super) fn value(&self, cells: impl Iterator<Item = usize> + Clone, scratch: &mut Scratch) -> f64 {
        match &self.data {
            Data::Sums { sums, value } => {
                let width = scratch.sums.len();
                scratch.sums.fill(0.0);
                for cell in cells {
                    for (total, value) in scratch.sums.iter_mut().zip(&sums[cell * width..][..width]) {
                        *total += value;
                    }
                }
                value(&scratch.sums)
            }
            Data::Pairs { pairs, .. } => {
                let items = cells.flat_map(|cell| &pairs[self.sample.items(cell)]);
                self.of_pairs(items, scratch)
            }
        }
    }

    fn of_pairs<'p>(&self, items: impl Iterator<Item = &'p Pair> + Clone, scratch: &mut Scratch) -> f64 {
        if self.sample.statistic == Statistic::Pearson {
            return pearson(items.map(|pair| (pair.gold, pair.predicted)));
        }
        let Scratch { counts: [gold, predicted], ranks: [gold_ranks, predicted_ranks], .. } = scratch;
        gold.fill(0);
        predicted.fill(0);
        let (mut right, mut right_positive, mut positive) = (0, 0.0, 0.0);
        for pair in items.clone() {
            gold[pair.gold_place as usize] += 1;
            predicted[pair.predicted_place as usize] += 1;
            right += u32::from(pair.gold_place == pair.predicted_place);
            right_positive += 2.0 * f64::from(pair.gold == 1.0 && pair.predicted == 1.0);
            positive += f64::from(pair.gold == 1.0) + f64::from(pair.predicted == 1.0);
        }
        match self.sample.statistic {
            Statistic::F1 if gold.iter().all(|&count| count == 0) => f64::NAN,
            Statistic::F1 => {
                if positive > 0.0 {
                    right_positive / positive
                } else {
                    0.0
                }
            }
            Statistic::Matthews => matthews(gold, predicted, right),
            Statistic::Spearman => {
                mid_ranks(gold, gold_ranks);
                mid_ranks(predicted, predicted_ranks);
                pearson(items.map(|pair| {
                    (gold_ranks[pair.gold_place as usize], predicted_ranks[pair.predicted_place as usize])
                }))
            }
            _ => unreachable!("a statistic of sums"),
        }
    }
}
