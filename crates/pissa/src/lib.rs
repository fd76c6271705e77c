#![doc = include_str!("../README.md")]

mod config;
mod method;

pub use config::{Config, Init};
pub use method::{PISSA, Pissa};
