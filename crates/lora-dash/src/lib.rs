#![doc = include_str!("../README.md")]

mod config;
mod dash;
mod directions;
mod launch;
mod method;

pub use config::{Choice, Config};
pub use dash::Dash;
pub use directions::{Directions, change_rates};
pub use launch::{Launch, LaunchSettings};
pub use method::{LORA_DASH, LoraDash};
