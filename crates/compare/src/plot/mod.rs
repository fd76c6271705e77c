//! Figures: scores against costs, curves, matrices; as SVG and PNG.

mod axis;
mod curves;
mod figure;
mod matrix;
mod pareto;
mod style;

pub use axis::Spacing;
pub use curves::{Curves, Series};
pub use figure::{Figure, Plot};
pub use matrix::{Matrix, Square};
pub use pareto::{Contestant, Cost, Pareto, Standing};

pub(crate) use figure::Background;
