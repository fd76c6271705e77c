//! How a model knows where a token stands.

use peft_core::{Parameter, Part};
use tch::{Device, Kind, Tensor};

use crate::config::StackConfig;
use crate::relative::{Relative, RelativeConfig, RelativeTable};
use crate::rotary::{Rotary, RotaryConfig, Rotation};
use crate::weights::{Init, Weights};

/// Kind of positions.
#[derive(Clone, Debug, PartialEq)]
pub enum PositionConfig {
    /// Queries and keys are turned.
    Rotary(RotaryConfig),
    /// A learned vector is added to the embedding: row `p + offset` of a table for position p.
    Learned {
        /// Rows before that of the first position.
        offset: i64,
    },
    /// Attention knows the distance between two tokens (DeBERTa).
    Relative(RelativeConfig),
}

/// [`PositionConfig`] with its tensors.
#[derive(Debug)]
pub(crate) enum Positions {
    Rotary(Rotary),
    Learned(Learned),
    Relative(RelativeTable),
}

/// A table `[offset + context, H]`.
#[derive(Debug)]
pub(crate) struct Learned {
    table: Parameter,
    offset: i64,
}

/// The positions of the tokens at hand.
#[derive(Debug)]
pub(crate) enum Located {
    /// For every layer.
    Turned(Rotation),
    /// Rows of the table, `[1 or B, T]`.
    Rows(Tensor),
    /// For every layer.
    Distances(Relative),
}

impl Clone for Located {
    fn clone(&self) -> Self {
        match self {
            Self::Turned(rotation) => Self::Turned(rotation.clone()),
            Self::Rows(rows) => Self::Rows(rows.shallow_clone()),
            Self::Distances(relative) => Self::Distances(relative.clone()),
        }
    }
}

impl Positions {
    pub(crate) fn new(config: &StackConfig, weights: &mut dyn Weights, kind: Kind, device: Device) -> Self {
        match &config.positions {
            PositionConfig::Rotary(rotary) => Self::Rotary(Rotary::new(rotary, config.context, kind, device)),
            &PositionConfig::Learned { offset } => {
                let name = format!("{}.weight", config.names.positions);
                let shape = [config.context + offset, config.hidden_size];
                let table = Parameter::new(&name, &weights.tensor(&name, &shape, Init::Normal));
                Self::Learned(Learned { table, offset })
            }
            PositionConfig::Relative(relative) => {
                Self::Relative(RelativeTable::new(config, relative, weights))
            }
        }
    }

    /// `start..start + count` in every row.
    pub(crate) fn range(&self, start: i64, count: i64) -> Located {
        match self {
            Self::Rotary(rotary) => Located::Turned(rotary.range(start, count)),
            Self::Learned(learned) => {
                let from = start + learned.offset;
                let options = (Kind::Int64, learned.table.frozen().device());
                Located::Rows(Tensor::arange_start(from, from + count, options).unsqueeze(0))
            }
            Self::Relative(relative) => Located::Distances(relative.at(count)),
        }
    }

    /// `positions [B, T]`.
    pub(crate) fn at(&self, positions: &Tensor) -> Located {
        match self {
            Self::Rotary(rotary) => Located::Turned(rotary.at(positions)),
            Self::Learned(learned) => Located::Rows(positions + learned.offset),
            Self::Relative(relative) => Located::Distances(relative.at(positions.size()[1])),
        }
    }

    /// `embedded [B, T, H]` with what learned positions add.
    pub(crate) fn add(&self, embedded: Tensor, located: &Located) -> Tensor {
        match (self, located) {
            (Self::Learned(learned), Located::Rows(rows)) => {
                let table = learned.table.value().to_kind(embedded.kind());
                embedded + Tensor::embedding(&table, rows, -1, false, false)
            }
            _ => embedded,
        }
    }

    pub(crate) fn parts(&mut self) -> Vec<Part<'_>> {
        match self {
            Self::Rotary(_) => Vec::new(),
            Self::Learned(learned) => vec![Part::Parameter(&mut learned.table)],
            Self::Relative(relative) => relative.parts(),
        }
    }
}
