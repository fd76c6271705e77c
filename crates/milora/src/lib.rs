#![doc = include_str!("../README.md")]

mod config;
mod method;

pub use config::{Config, Svd};
pub use method::{MILORA, Milora};
