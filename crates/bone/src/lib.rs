#![doc = include_str!("../README.md")]

mod bat;
mod blocks;
mod config;
mod fused;
mod guided;
mod method;
mod peft;
mod shared;

pub use bat::{BAT, Bat};
pub use config::{BatConfig, Config, Layout};
pub use guided::GuidedBlocks;
pub use method::{BONE, Bone};
pub use shared::SharedBlock;
