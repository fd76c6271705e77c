#![doc = include_str!("../README.md")]

mod config;
mod method;
mod plus;

pub use config::Config;
pub use method::{LORA, Lora};
pub use plus::{LORA_PLUS, LoraPlus, PlusConfig};
