#![doc = include_str!("../README.md")]

mod config;
mod dense;
mod mask;
mod sparse;

pub use config::{DenseConfig, FreshOrSame, Keep, SparseConfig};
pub use dense::{LORI_D, LoriD};
pub use mask::{Granularity, masks};
pub use sparse::{LORI_S, LoriS};
