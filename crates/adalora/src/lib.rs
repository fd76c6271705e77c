#![doc = include_str!("../README.md")]

mod allocator;
mod budget;
mod config;
mod importance;
mod method;
mod peft;
mod triplets;

pub use budget::{Budget, Moment};
pub use config::Config;
pub use method::{ADALORA, AdaLora};
pub use triplets::Triplets;
