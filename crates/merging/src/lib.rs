#![doc = include_str!("../README.md")]

mod attach;
mod combine;
mod factors;
mod file;
mod interference;
mod prune;
mod ties;
mod truncate;
mod update;

pub use attach::attach;
pub use combine::{Recipe, Space, combine, combine_updates};
pub use factors::{Factors, is_plain, updates};
pub use file::{Contribution, check_bases, merge, plain_file, rank};
pub use interference::{Interference, interference};
pub use prune::Prune;
pub use ties::Election;
pub use update::{Update, Updates};
