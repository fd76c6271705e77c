//! How far numbers may be apart that should be the same on every x86-64 processor.
//!
//! Measured on seven methods (20 steps of nlu, f32): the same machine with its widest vectors (AVX-512) against libtorch without any
//! (`ATEN_CPU_CAPABILITY=default`) and MKL's most portable code (`MKL_CBWR=COMPATIBLE`). No loss of the first 20 steps moved by
//! more than 7.5e-7 of itself. A fault in scale, mask, axis or dropout moves them by 1e-3 and more.

/// Largest relative difference of a training loss among the first steps: some twenty-five times what processors do.
pub const LOSS: f64 = 2e-5;

/// Relative difference of the norm of the update, some steps later.
pub const UPDATE_NORM: f64 = 2e-4;

/// Relative difference of the validation loss, at the same time.
pub const EVALUATION_LOSS: f64 = 2e-4;

/// Relative growth of counted operations: they do not depend on the processor (unless a gradient's norm meets the bound of
/// clipping to the last bit), and each one more has a reason.
pub const WORK: f64 = 0.0;

/// Relative growth of sizes in bytes: text in a file's header may be longer, an allocator may round otherwise.
pub const BYTES: f64 = 0.001;
