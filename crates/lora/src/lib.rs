#![doc = include_str!("../README.md")]

mod config;
mod method;
mod plus;

pub use config::{Config, Init};
pub use method::{LORA, Lora};
pub use plus::{LORA_PLUS, LoraPlus, PlusConfig};
