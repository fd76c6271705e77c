#![doc = include_str!("../README.md")]

mod config;
mod method;

pub use config::Config;
pub use method::{RSLORA, RsLora};
