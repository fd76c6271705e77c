//! Tables: one model, several ways to print it.

mod csv;
mod latex;
mod markdown;
mod model;
mod results;
mod terminal;
mod text;
mod units;

pub use csv::csv;
pub use latex::latex;
pub use markdown::markdown;
pub use model::{Align, Cell, Column, Emphasis, Row, Section, Table};
pub use results::{results, tests};
pub use terminal::{TerminalStyle, listing, terminal};
pub use units::{bytes, duration, quantity};

pub(crate) use csv::sort_key;
pub(crate) use model::ONE_SEED;
pub(crate) use text::{cell_text, score_text};
