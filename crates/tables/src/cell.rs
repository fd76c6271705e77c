//! One number of a paper, and how far it can be trusted.

use std::fmt;

use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};

/// How well a number is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// Read in the paper's text or in a file of its authors.
    #[default]
    Verified,
    /// Read off an image.
    Figure,
    /// From memory or at second hand: shown, but confirmed and contradicted by nothing.
    Unverified,
}

impl Grade {
    /// The mark in tables; what is verified has none.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Verified => "",
            Self::Figure => "~",
            Self::Unverified => "?",
        }
    }

    /// The word for it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Figure => "read off a figure",
            Self::Unverified => "unverified",
        }
    }
}

/// Who measured a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The authors of the table.
    #[default]
    Paper,
    /// Others before them; the table quotes it.
    Cited,
    /// Others after them; the table does not have it, and its order makes no claim about it.
    Reproduction,
}

/// One number as a table prints it, in the unit of its column.
///
/// In a pack a cell is a number, or `{ value = 43.2, grade = "unverified" }` where it is known otherwise than its row.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The number.
    pub value: f64,
    /// Standard error, where the table prints one.
    pub stderr: Option<f64>,
    /// How well it is known; as its row when absent.
    pub grade: Option<Grade>,
    /// Where it was found; as its row when absent.
    pub found: Option<String>,
}

/// A cell that is written as a table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Full {
    value: f64,
    stderr: Option<f64>,
    grade: Option<Grade>,
    found: Option<String>,
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrTable;

        impl<'de> Visitor<'de> for NumberOrTable {
            type Value = Cell;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or a table with `value`")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Cell, E> {
                if value.is_finite() {
                    Ok(Cell { value, stderr: None, grade: None, found: None })
                } else {
                    Err(E::invalid_value(de::Unexpected::Float(value), &self))
                }
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Cell, E> {
                self.visit_f64(value as f64)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Cell, A::Error> {
                let Full { value, stderr, grade, found } =
                    Full::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Cell { stderr, grade, found, ..self.visit_f64(value)? })
            }
        }

        deserializer.deserialize_any(NumberOrTable)
    }
}
