//! Systems for which isolation is not written.

use crate::{Error, Isolation, Limits, Outcome, Permission, Result};
use std::path::Path;

/// Runs programs. There is no way to make one on this system.
#[derive(Debug)]
pub enum Sandbox {}

impl Sandbox {
    /// Refuses, whatever is permitted: not even the limits are written for this system.
    ///
    /// # Errors
    /// [`Error::UnknownSystem`], always.
    pub fn new(_permission: Permission) -> Result<Self> {
        Err(Error::UnknownSystem { system: std::env::consts::OS })
    }

    /// What guards programs here.
    pub fn isolation(&self) -> &Isolation {
        match *self {}
    }

    /// The interpreter.
    pub fn python(&self) -> &Path {
        match *self {}
    }

    /// Runs a Python program.
    ///
    /// # Errors
    /// Never reached.
    pub fn run(&self, _program: &str, _limits: &Limits) -> Result<Outcome> {
        match *self {}
    }
}
