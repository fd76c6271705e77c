#![doc = include_str!("../README.md")]

mod error;
mod ffi;
mod function;
mod gradcheck;
mod saved;

pub use error::Error;
pub use function::{Function, Needs};
pub use gradcheck::{Gradcheck, gradcheck};
pub use saved::SavedTensor;
