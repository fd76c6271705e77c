//! Which sequences share a batch, epoch after epoch.

use crate::config::{LastBatch, Order};
use crate::dice::Dice;
use serde::{Deserialize, Serialize};

/// Where training stands: enough to go on from there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Passes over the data that are complete.
    pub epoch: u64,
    /// Batches of the present pass that were taken.
    pub batch: usize,
}

/// The batches of a training run. Epoch `e` depends on the seed, `e` and the lengths alone.
#[derive(Debug, Clone)]
pub struct Batches {
    lengths: Vec<usize>,
    batch_size: usize,
    order: Order,
    last: LastBatch,
    dice: Dice,
    position: Position,
    epoch: Vec<Vec<usize>>,
}

impl Batches {
    /// Batches of `batch_size` from sequences of these lengths, beginning at `position`.
    pub fn new(
        lengths: Vec<usize>,
        batch_size: usize,
        order: Order,
        last: LastBatch,
        seed: u64,
        position: Position,
    ) -> Self {
        let dice = Dice::named(seed, "order");
        let mut batches = Self { lengths, batch_size, order, last, dice, position, epoch: Vec::new() };
        batches.epoch = batches.draw(position.epoch);
        batches
    }

    /// Batches of one epoch.
    pub fn per_epoch(&self) -> usize {
        self.epoch.len()
    }

    /// Where the next batch stands.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Goes on from `position`.
    pub fn seek(&mut self, position: Position) {
        self.epoch = self.draw(position.epoch);
        self.position = position;
    }

    fn draw(&self, epoch: u64) -> Vec<Vec<usize>> {
        let mut dice = self.dice.nth(epoch);
        let mut indices: Vec<_> = (0..self.lengths.len()).collect();
        dice.shuffle(&mut indices);
        if let Order::LengthGrouped { window } = self.order {
            for window in indices.chunks_mut(window) {
                window.sort_by_key(|index| self.lengths[*index]);
            }
        }
        let mut batches: Vec<_> = indices.chunks(self.batch_size).map(<[usize]>::to_vec).collect();
        if self.last == LastBatch::Drop && batches.len() > 1 {
            batches.retain(|batch| batch.len() == self.batch_size);
        }
        if let Order::LengthGrouped { .. } = self.order {
            dice.shuffle(&mut batches);
        }
        batches
    }
}

impl Iterator for Batches {
    type Item = Vec<usize>;

    /// The indices of the next batch. Never ends, unless there is no sequence at all.
    fn next(&mut self) -> Option<Vec<usize>> {
        if self.position.batch >= self.epoch.len() {
            self.position = Position { epoch: self.position.epoch + 1, batch: 0 };
            self.epoch = self.draw(self.position.epoch);
        }
        let batch = self.epoch.get(self.position.batch)?.clone();
        self.position.batch += 1;
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GROUPED: Order = Order::LengthGrouped { window: 12 };

    fn batches(order: Order, last: LastBatch, position: Position) -> Batches {
        Batches::new((0..50).map(|i| i * 7 % 31).collect(), 4, order, last, 3, position)
    }

    #[test]
    fn an_epoch_holds_every_sequence_once() {
        for order in [Order::Shuffled, GROUPED] {
            let mut run = batches(order, LastBatch::Keep, Position::default());
            assert_eq!(run.per_epoch(), 13);
            let epochs: Vec<Vec<_>> =
                (0..2).map(|_| run.by_ref().take(13).flatten().collect::<Vec<usize>>()).collect();
            assert_ne!(epochs[0], epochs[1], "epochs are drawn anew");
            for mut epoch in epochs {
                epoch.sort_unstable();
                assert_eq!(epoch, (0..50).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_partial_batch_is_dropped_on_request() {
        let mut run = batches(GROUPED, LastBatch::Drop, Position::default());
        assert_eq!(run.per_epoch(), 12);
        assert!(run.by_ref().take(24).all(|batch| batch.len() == 4));
    }

    #[test]
    fn grouping_narrows_the_lengths_of_a_batch() {
        let spread = |order| -> usize {
            let run = batches(order, LastBatch::Keep, Position::default());
            let lengths: Vec<_> = (0..50).map(|i| i * 7 % 31).collect();
            run.take(13)
                .map(|batch| {
                    let of = |i: &usize| lengths[*i];
                    batch.iter().map(of).max().unwrap() - batch.iter().map(of).min().unwrap()
                })
                .sum()
        };
        assert!(spread(GROUPED) * 2 < spread(Order::Shuffled));
    }

    proptest! {
        #[test]
        fn a_run_goes_on_where_it_stopped(taken in 0usize..40, grouped in any::<bool>()) {
            let order = if grouped { GROUPED } else { Order::Shuffled };
            let mut whole = batches(order, LastBatch::Keep, Position::default());
            for _ in 0..taken {
                whole.next();
            }
            let resumed = batches(order, LastBatch::Keep, whole.position());
            let mut set = batches(order, LastBatch::Keep, Position::default());
            set.seek(whole.position());
            let rest: Vec<_> = whole.take(30).collect();
            prop_assert_eq!(&rest, &resumed.take(30).collect::<Vec<_>>());
            prop_assert_eq!(&rest, &set.take(30).collect::<Vec<_>>());
        }
    }
}
