#![doc = include_str!("../README.md")]

mod config;
mod decomposed;
mod fused;
mod method;
mod norm;

pub use config::{Config, MagnitudeOf};
pub use decomposed::{Decomposed, NormGradient};
pub use method::{DORA, Dora};
