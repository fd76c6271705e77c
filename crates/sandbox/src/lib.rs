#![doc = include_str!("../README.md")]

mod error;
mod isolation;
mod limits;
mod outcome;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

pub use error::{Error, Result};
pub use isolation::{Isolation, Need, Permission, Wall};
pub use limits::Limits;
#[cfg(target_os = "linux")]
pub use linux::Sandbox;
#[cfg(not(target_os = "linux"))]
pub use other::Sandbox;
pub use outcome::{End, Outcome};
