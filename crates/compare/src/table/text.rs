//! Cells as text. What differs between a terminal, Markdown and LaTeX is a handful of signs.

use super::model::{Cell, Emphasis, ONE_SEED};
use super::units;
use crate::entry::Replication;
use crate::metric::Scale;

/// The signs of one kind of output.
pub(crate) struct Signs {
    /// Between a number and its unit.
    pub(crate) gap: &'static str,
    /// For what is not known.
    pub(crate) unknown: &'static str,
    /// Between items and seeds.
    pub(crate) times: &'static str,
    /// Makes words safe.
    pub(crate) escape: fn(&str) -> String,
    /// Dresses a number.
    pub(crate) number: fn(&str) -> String,
    /// Dresses a score: its number, whether it rests on one seed, whether it stands out.
    pub(crate) score: fn(&str, OneSeed, Emphasis) -> String,
}

/// Whether a score rests on a single seed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OneSeed {
    Yes,
    No,
}

impl Signs {
    pub(crate) fn cell(&self, cell: &Cell, emphasis: Emphasis) -> String {
        let number = |text: String| (self.number)(&text);
        match cell {
            Cell::Unknown => self.unknown.into(),
            Cell::Text(text) => (self.escape)(text),
            Cell::Quantity(count) => units::quantity_measure(*count).join(self.gap),
            Cell::Percent(value) => number(percent(*value)),
            Cell::Seconds(seconds) => units::duration_measure(*seconds).join(self.gap),
            Cell::Bytes(count) => units::bytes_measure(*count).join(self.gap),
            Cell::PValue(value) if *value < 0.001 => number("< 0.001".into()),
            Cell::PValue(value) => number(format!("{value:.3}")),
            Cell::Ratio(value) => number(format!("{value:.2}")),
            Cell::Score(value, scale, replication) => {
                let one_seed = if *replication == Replication::OneSeed { OneSeed::Yes } else { OneSeed::No };
                (self.score)(&number(score(*value, *scale)), one_seed, emphasis)
            }
            Cell::Interval(low, high, scale) => {
                format!("[{}, {}]", number(score(*low, *scale)), number(score(*high, *scale)))
            }
            Cell::Sample(items, replication) => {
                let items = items.map_or_else(|| self.unknown.to_owned(), |n| n.to_string());
                match replication {
                    Replication::Untrained => items,
                    Replication::OneSeed => format!("{items}{}1", self.times),
                    Replication::Seeds(seeds) => format!("{items}{}{seeds}", self.times),
                }
            }
        }
    }
}

/// A cell on a page, where styles tell what stands out and escaping is somebody else's.
pub(crate) fn cell_text(cell: &Cell) -> String {
    const SIGNS: Signs = Signs {
        gap: "\u{a0}",
        unknown: "–",
        times: "\u{a0}×\u{a0}",
        escape: |text| text.into(),
        number: |text| text.replace(' ', "\u{a0}"),
        score: |number, one_seed, _| {
            format!("{number}{}", if one_seed == OneSeed::Yes { ONE_SEED } else { "" })
        },
    };
    SIGNS.cell(cell, Emphasis::None)
}

/// A score as tables write it, marked if it rests on one seed.
pub(crate) fn score_text(value: f64, scale: Scale, replication: Replication) -> String {
    cell_text(&Cell::Score(value, scale, replication))
}

/// Fractions in percent with one decimal, anything else with three.
fn score(value: f64, scale: Scale) -> String {
    match scale {
        Scale::Fraction => format!("{:.1}", 100.0 * value),
        Scale::Plain => format!("{value:.3}"),
    }
}

/// Two to four digits, down to the fourth decimal.
fn percent(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        v if v < 0.000_05 => "< 0.0001".into(),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v >= 0.1 => format!("{v:.2}"),
        v => format!("{v:.4}"),
    }
}
