#![doc = include_str!("../README.md")]

mod full;
mod lora_fa;
mod olora;
mod vera;

pub use full::{FULL, Full, FullConfig};
pub use lora_fa::{GradientOfB, LORA_FA, LoraFa, LoraFaConfig};
pub use olora::{OLORA, Olora, OloraConfig};
pub use vera::{VERA, Vera, VeraConfig, VeraDelta};
