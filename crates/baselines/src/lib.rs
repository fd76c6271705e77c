#![doc = include_str!("../README.md")]

mod full;

pub use full::{FULL, Full, FullConfig};
