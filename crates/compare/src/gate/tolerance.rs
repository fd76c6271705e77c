//! How far numbers may be apart that should be the same on every x86-64 processor.

/// Largest relative difference of a training loss among the first steps.
pub const LOSS: f64 = 2e-3;

/// Relative difference of the norm of the update.
pub const UPDATE_NORM: f64 = 5e-3;

/// Relative difference of the validation loss.
pub const EVALUATION_LOSS: f64 = 5e-3;

/// Relative growth of counted operations.
pub const WORK: f64 = 0.0;

/// Relative growth of sizes in bytes.
pub const BYTES: f64 = 0.001;
