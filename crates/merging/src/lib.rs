#![doc = include_str!("../README.md")]

mod combine;
mod factors;
mod file;
mod interference;
mod prune;
mod ties;
mod truncate;

pub use combine::{Recipe, Space, combine};
pub use factors::{Factors, updates};
pub use file::{Contribution, merge};
pub use interference::{Interference, interference};
pub use prune::Prune;
pub use ties::Election;
