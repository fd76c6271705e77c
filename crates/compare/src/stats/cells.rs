//! A sample made ready for resampling.

use std::f64::consts::LN_2;

use super::sample::Sample;
use super::statistic::{Statistic, bleu, matthews, mid_ranks, pearson, ratio};

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
        let sums = |value| Data::Sums { sums: sums_of(sample), value };
        let data = match sample.statistic {
            Statistic::Bleu => sums(bleu),
            Statistic::Perplexity => sums(|sums| ratio(sums).exp()),
            Statistic::BitsPerCharacter => sums(|sums| ratio(sums) / LN_2),
            Statistic::NatsPerToken => sums(ratio),
            Statistic::Matthews | Statistic::F1 | Statistic::Pearson | Statistic::Spearman => {
                pairs_of(sample)
            }
        };
        Self { sample, data }
    }

    pub(super) fn clusters(&self) -> usize {
        self.sample.clusters()
    }

    /// Columns of the sample: its seeds.
    pub(super) fn columns(&self) -> usize {
        self.sample.seeds()
    }

    /// The cells of one column.
    pub(super) fn column(&self, column: usize) -> impl Iterator<Item = usize> + Clone + use<> {
        (column..self.sample.cells()).step_by(self.sample.seeds())
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
        items.clone().for_each(|pair| {
            gold[pair.gold_place as usize] += 1;
            predicted[pair.predicted_place as usize] += 1;
            right += u32::from(pair.gold_place == pair.predicted_place);
            right_positive += 2.0 * f64::from(pair.gold == 1.0 && pair.predicted == 1.0);
            positive += f64::from(pair.gold == 1.0) + f64::from(pair.predicted == 1.0);
        });
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
            other => unreachable!("`{other:?}` is not made from counts"),
        }
    }
}

/// The sums of the columns of every cell.
fn sums_of(sample: &Sample) -> Vec<f64> {
    let mut sums = Vec::new();
    for cell in (0..sample.cells()).map(|cell| sample.cell(cell)) {
        let column = |column| cell.iter().skip(column).step_by(sample.width()).sum::<f64>();
        sums.extend((0..sample.width()).map(column));
    }
    sums
}

fn pairs_of(sample: &Sample) -> Data {
    let mut values = sample.values.clone();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let place = |value: f64| values.partition_point(|&other| other < value) as u32;
    let pairs = sample.values.chunks(2).map(|pair| Pair {
        gold: pair[0],
        predicted: pair[1],
        gold_place: place(pair[0]),
        predicted_place: place(pair[1]),
    });
    Data::Pairs { pairs: pairs.collect(), distinct: values.len() }
}
