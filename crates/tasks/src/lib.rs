#![doc = include_str!("../README.md")]

mod batch;
mod borrow;
mod config;
mod dice;
mod encode;
mod error;
mod files;
mod item;
pub mod mini;
mod order;
mod overlap;
mod parse;
mod place;
mod program;
mod provided;
mod read;
mod score;
mod task;
mod template;
mod vocabulary;

pub use batch::{Batch, Labels, Step};
pub use config::*;
pub use dice::Dice;
pub use encode::{
    Encoded, EncodedPrompts, Encoder, IGNORED, Row, RowEncoder, Rows, Sequence, Target, Truncated,
};
pub use error::{Error, Result};
pub use item::{Fields, Item, PerSplit, Split};
pub use order::{Batches, Position};
pub use overlap::{Overlap, Repeat, Repeats};
pub use place::Place;
pub use program::{Program, RunError, Statement, SyntaxError};
pub use provided::{PRETRAIN_MINI, PROVIDED, SUITE_MINI, provided};
pub use read::DataFile;
pub use sandbox::Permission;
pub use score::{Aggregate, Better, Metric, Scorer, Scores, metrics};
pub use task::Task;
pub use template::Template;
pub use vocabulary::{SpecialTokens, TextTokenizer};
