//! Figures: scores against costs, curves, dots in rows, matrices; as SVG and PNG.

mod axis;
mod curves;
mod figure;
mod matrix;
mod pareto;
mod points;
mod style;

pub use axis::Spacing;
pub use curves::{Curves, Series};
pub use figure::{Figure, Plot};
pub use matrix::{Matrix, Square};
pub use pareto::{Contestant, Cost, Pareto, Standing};
pub use points::{Dot, Dots, Points};

pub(crate) use figure::Background;
