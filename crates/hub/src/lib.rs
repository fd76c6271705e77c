#![doc = include_str!("../README.md")]

mod checksum;
mod error;
mod fetch;
mod repo;

pub use error::{Error, Result};
pub use fetch::Snapshot;
pub use repo::{Kind, Repo};
