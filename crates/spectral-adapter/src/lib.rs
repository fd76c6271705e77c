#![doc = include_str!("../README.md")]

mod additive;
mod config;
mod rotational;
mod triplets;

pub use additive::{Additive, SPECTRAL_A, SpectralA};
pub use config::{AdditiveConfig, RotationalConfig};
pub use rotational::{Rotational, SPECTRAL_R, SpectralR, rotation};
pub use triplets::{CountedFrom, Triplets};
