//! Laws that every method keeps, checked on a toy model: what a method crate must satisfy to be called one.

mod close;
mod course;
mod laws;
mod probe;
mod resume;
mod shared;
mod toy;
mod trained;

pub use close::{Tolerance, assert_close};
pub use course::Course;
pub use laws::{Bench, check_all};
pub use probe::probe;
pub use shared::shared;
pub use toy::{Rounded, Toy};
pub use trained::Trained;
