#![doc = include_str!("../README.md")]

mod counters;
mod error;
mod ffi;
mod function;
mod gradcheck;
mod saved;

pub use counters::{Counters, Counting, count};
pub use error::Error;
pub use function::{Function, Needs};
pub use gradcheck::{Gradcheck, gradcheck};
pub use saved::SavedTensor;
