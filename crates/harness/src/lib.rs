#![doc = include_str!("../README.md")]

pub mod adapter;
pub mod board;
pub mod builtin;
pub mod cells;
pub mod check;
pub mod checkpoint;
pub mod claims;
pub mod cli;
pub mod commands;
pub mod config;
pub mod continual;
pub mod doctor;
pub mod evaluate;
pub mod events;
pub mod export;
pub mod feed;
pub mod fidelity;
pub mod interrupt;
pub mod memory;
pub mod parity;
pub mod part;
pub mod power;
pub mod predict;
pub mod progress;
pub mod queue;
pub mod record;
pub mod rescore;
pub mod reward;
pub mod run;
pub mod scenario;
pub mod session;
pub mod solver;
pub mod train;
pub mod tune;
pub mod updates;

mod error;

pub use error::{Error, Result};
