//! libtorch's own generator of random numbers, which the whole process shares.

use std::sync::{Mutex, PoisonError};

/// What `draw` returns after libtorch's generator was seeded with `seed`: the same for the same seed, whatever other
/// threads draw through this function. A draw past it (`Tensor::rand` and its like) in another thread may fall between
/// the seed and `draw`, and change it: `init` draws without this generator.
pub fn seeded<T>(seed: i64, draw: impl FnOnce() -> T) -> T {
    static GENERATOR: Mutex<()> = Mutex::new(());
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed);
    draw()
}
