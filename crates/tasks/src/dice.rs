//! Random choices that repeat to the bit on every machine: integers from named ChaCha streams.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use std::ops::RangeInclusive;

/// A stream of random choices, named by what it is for.
///
/// Neither the order in which streams are opened nor the version of a random-number crate can change what one
/// of them yields: the key is SHA-256(name ‖ 0 ‖ seed), the cipher ChaCha8, and every choice below is integer
/// arithmetic on its 32-bit words.
#[derive(Debug, Clone)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// Opens the stream `name` under a root seed.
    pub fn named(seed: u64, name: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update(seed.to_le_bytes());
        Self(ChaCha8Rng::from_seed(hash.finalize().into()))
    }

    /// The `index`-th of 2⁶⁴ independent streams with the same name and seed.
    #[must_use]
    pub fn nth(&self, index: u64) -> Self {
        let mut rng = self.0.clone();
        rng.set_stream(index);
        rng.set_word_pos(0);
        Self(rng)
    }

    /// Uniform on `0..n` (Lemire's multiply-and-reject, without bias).
    pub fn below(&mut self, n: usize) -> usize {
        let n = u32::try_from(n).expect("a choice among more than 2^32 things");
        assert!(n > 0, "a choice among no things");
        loop {
            let product = u64::from(self.0.next_u32()) * u64::from(n);
            if product as u32 >= n.wrapping_neg() % n {
                return (product >> 32) as usize;
            }
        }
    }

    /// Uniform on an inclusive range of integers.
    pub fn range(&mut self, range: RangeInclusive<i64>) -> i64 {
        let width = usize::try_from(range.end() - range.start() + 1).expect("an empty range");
        range.start() + self.below(width) as i64
    }

    /// True `percent` times in a hundred.
    pub fn percent(&mut self, percent: u32) -> bool {
        (self.below(100) as u32) < percent
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// An index, drawn in proportion to its weight.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let total = weights.iter().sum::<u32>() as usize;
        let mut left = self.below(total) as u32;
        for (index, &weight) in weights.iter().enumerate() {
            if left < weight {
                return index;
            }
            left -= weight;
        }
        unreachable!("the draw is below the sum of the weights")
    }

    /// Shuffles in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for end in (1..values.len()).rev() {
            values.swap(end, self.below(end + 1));
        }
    }

    /// `count` different ones of `from`, in random order.
    pub fn sample<T: Clone>(&mut self, from: &[T], count: usize) -> Vec<T> {
        assert!(count <= from.len(), "{count} different ones of only {}", from.len());
        let mut pool = from.to_vec();
        for at in 0..count {
            let other = at + self.below(pool.len() - at);
            pool.swap(at, other);
        }
        pool.truncate(count);
        pool
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_what_their_definition_says() {
        // From tests/golden/dice.py, which knows ChaCha8 and SHA-256 and nothing of this crate. Three billion is a
        // bound that rejects often.
        let named = Dice::named(7, "test");
        for (mut dice, small, large) in [
            (named.clone(), [786, 830, 856, 964, 102, 724], [164_591_849, 2_175_946_261, 475_416_225]),
            (named.nth(5), [694, 64, 169, 776, 874, 930], [707_294_672, 2_271_645_135, 2_072_352_054]),
        ] {
            assert_eq!([0; 6].map(|_| dice.below(1000)), small);
            let many: Vec<_> = (0..20).map(|_| dice.below(3_000_000_000)).collect();
            assert_eq!(many[17..], large);
        }
    }

    #[test]
    fn streams_differ_by_seed_name_and_index() {
        let draw = |mut dice: Dice| (0..4).map(|_| dice.below(1 << 30)).collect::<Vec<_>>();
        let base = draw(Dice::named(1, "a"));
        assert_eq!(base, draw(Dice::named(1, "a")));
        assert_ne!(base, draw(Dice::named(2, "a")));
        assert_ne!(base, draw(Dice::named(1, "b")));
        assert_ne!(base, draw(Dice::named(1, "a").nth(1)));
    }

    #[test]
    fn choices_stay_in_range_and_reach_all_of_it() {
        let mut dice = Dice::named(0, "range");
        let mut seen = [0; 7];
        for _ in 0..7000 {
            seen[usize::try_from(dice.range(-3..=3) + 3).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&n| (850..1150).contains(&n)), "{seen:?}");
        let mut weighted = [0; 3];
        for _ in 0..4000 {
            weighted[dice.weighted(&[1, 0, 3])] += 1;
        }
        assert!(weighted[1] == 0 && (900..1100).contains(&weighted[0]), "{weighted:?}");
    }

    #[test]
    fn samples_are_distinct() {
        let mut dice = Dice::named(0, "sample");
        let mut all = dice.sample(&[1, 2, 3, 4, 5], 5);
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3, 4, 5]);
    }
}
