#![doc = include_str!("../README.md")]

mod adapter;
mod config;
mod csr;
mod fused;
mod mask;
mod method;
mod spa;
mod sparse;

pub use adapter::RobustUpdate;
pub use config::{RosaConfig, SpaConfig};
pub use csr::Csr;
pub use mask::{Score, largest};
pub use method::{ROSA, Rosa};
pub use spa::{SPA, Spa};
