//! Laws that every method keeps, checked on a toy model: what a method crate must satisfy to be called one.

mod close;
mod laws;
mod probe;
mod shared;
mod toy;

pub use close::{Tolerance, assert_close};
pub use laws::{Bench, check_all};
pub use probe::probe;
pub use shared::shared;
pub use toy::{Rounded, Toy, Trained};
