//! Where an axis has its ticks, and how values lie on it.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// A range of values with ticks, linear or logarithmic.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    spacing: Spacing,
    ends: (f64, f64),
    ticks: Vec<f64>,
}

/// How values are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Equal differences are equally long; from 0.
    Linear,
    /// Equal ratios are equally long; all values are positive.
    Logarithmic,
}

/// Values whose ratio is this and more lie on a logarithmic axis.
const WIDE: f64 = 20.0;

impl Axis {
    /// An axis for values that are all positive: logarithmic where they spread widely, else from 0.
    pub(crate) fn of_costs(values: impl Iterator<Item = f64> + Clone) -> Self {
        let (low, high) = extent(values);
        if low > 0.0 && high / low >= WIDE {
            return Self::logarithmic(low / 1.3, high * 1.6);
        }
        Self::linear(0.0, if high > 0.0 { high * 1.15 } else { 1.0 })
    }

    /// An axis for losses and scores: logarithmic where they are positive and spread widely, as losses do; shares of items,
    /// none of them above 1, are on a linear one.
    pub(crate) fn of_losses(values: impl Iterator<Item = f64> + Clone) -> Self {
        let (low, high) = extent(values);
        if low > 0.0 && high / low >= WIDE && high > 1.0 {
            return Self::logarithmic(low / 1.1, high * 1.1);
        }
        Self::linear(low.min(0.0), padded(low, high).1)
    }

    /// An axis for what was varied.
    pub(crate) fn of_settings(values: impl Iterator<Item = f64> + Clone, spacing: Spacing) -> Self {
        let (low, high) = extent(values);
        match spacing {
            Spacing::Linear => Self::linear(0.0, high.max(1.0)),
            Spacing::Logarithmic => Self::logarithmic(low / 1.2, high * 1.2),
        }
    }

    /// An axis that shows all values and little else, within `bounds`.
    pub(crate) fn around(values: impl Iterator<Item = f64> + Clone, bounds: (f64, f64)) -> Self {
        let (low, high) = extent(values);
        let (low, high) = padded(low, high);
        Self::linear(low.max(bounds.0), high.min(bounds.1))
    }

    /// An axis between two values.
    pub(crate) fn linear(low: f64, high: f64) -> Self {
        let step = nice((high - low) / 6.0);
        let first = (low / step).ceil() as i64;
        let last = (high / step).floor() as i64;
        let ticks = (first..=last).map(|tick| tick as f64 * step).collect();
        Self { spacing: Spacing::Linear, ends: (low, high), ticks }
    }

    fn logarithmic(low: f64, high: f64) -> Self {
        let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let digits: &[f64] = if high / low < 1e3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let ticks = decades
            .flat_map(|decade| digits.iter().map(move |digit| digit * 10_f64.powi(decade)))
            .filter(|tick| (low..=high).contains(tick))
            .collect();
        Self { spacing: Spacing::Logarithmic, ends: (low, high), ticks }
    }

    fn position(&self, value: f64) -> f64 {
        match self.spacing {
            Spacing::Linear => value,
            Spacing::Logarithmic => value.log10(),
        }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let (low, high) = (self.position(self.ends.0), self.position(self.ends.1));
        let share = (self.position(*value) - low) / (high - low);
        from + (share * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.ends.0..self.ends.1
    }
}

/// A tick as a number with as many decimals as its neighbors need.
impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let step = match (self.spacing, &self.ticks[..]) {
            (Spacing::Linear, [first, second, ..]) => second - first,
            _ => value.abs(),
        };
        let decimals = if step > 0.0 { (-step.log10().floor()).max(0.0) as usize } else { 0 };
        if decimals > 4 { format!("{value:.0e}") } else { format!("{value:.decimals$}") }
    }
}

/// Smallest and largest; 0 and 1 of nothing.
fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

fn padded(low: f64, high: f64) -> (f64, f64) {
    let pad = if high > low { 0.08 * (high - low) } else { 0.05 * high.abs().max(0.1) };
    (low - pad, high + pad)
}

/// The next of 1, 2, 5, 10, … at or above.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|digit| digit * power)
        .into_iter()
        .find(|&s| s >= step * (1.0 - 1e-9))
        .unwrap_or(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let axis = Axis::linear(0.0, 1.0);
        assert_eq!(
            axis.ticks.iter().map(|t| axis.format_ext(t)).collect::<Vec<_>>(),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        let axis = Axis::of_costs([9_625.0, 1_400_000.0].into_iter());
        let labels: Vec<_> = axis.ticks.iter().map(|t| t.round() as u64).collect();
        assert_eq!(labels, [10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000]);
    }

    #[test]
    fn nothing_and_one_value_have_an_axis_too() {
        for axis in [
            Axis::of_costs([].into_iter()),
            Axis::of_costs([5.0].into_iter()),
            Axis::of_losses([0.0].into_iter()),
            Axis::around([0.0].into_iter(), (0.0, 1.0)),
            Axis::around([1.0, 1.0].into_iter(), (0.0, 1.0)),
        ] {
            assert!(axis.ends.0 < axis.ends.1 && !axis.ticks.is_empty(), "{axis:?}");
        }
    }
}
