//! Scores by name, with their intervals: a row for each name, a dot for each series.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{BoldPoints, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axis::Axis;
use super::figure::Drawn;
use super::style::{GRID, INK, MUTED, Pen, color};

/// Dots in rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    /// What the dots are of, with its unit.
    pub quantity: String,
    /// Names of the rows.
    pub rows: Vec<String>,
    /// Dots of one color.
    pub series: Vec<Dots>,
}

/// One series.
#[derive(Clone, Debug, PartialEq)]
pub struct Dots {
    /// What it is of.
    pub label: String,
    /// Row by row; `None` is not known.
    pub values: Vec<Option<Dot>>,
}

/// A value with the ends of its interval, where it has one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dot {
    /// The value.
    pub value: f64,
    /// The ends.
    pub interval: Option<(f64, f64)>,
}

const WIDTH: i32 = 460;
const AXIS: i32 = 44;
const LINE: i32 = 20;
const MARGIN: i32 = 12;

impl Points {
    fn label_width(&self) -> i32 {
        self.rows.iter().map(|row| Pen::text_width(row)).max().unwrap_or(0) as i32 + 2 * MARGIN
    }

    fn legend_width(&self) -> i32 {
        self.series.iter().map(|series| Pen::text_width(&series.label)).max().unwrap_or(0) as i32 + 36
    }

    /// Of a row: a line for each series, and room between rows.
    fn row_height(&self) -> i32 {
        LINE * self.series.len() as i32 + LINE / 2
    }

    pub(super) fn size(&self) -> (u32, u32) {
        let width = self.label_width() + WIDTH + self.legend_width();
        let rows = self.row_height() * self.rows.len() as i32;
        let legend = LINE * self.series.len() as i32 + 2 * MARGIN;
        (width as u32, ((MARGIN + rows + AXIS).max(legend)) as u32)
    }

    pub(super) fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, pen: Pen) -> Drawn<B, ()> {
        let (left, row_height) = (self.label_width(), self.row_height());
        let bottom = MARGIN + row_height * self.rows.len() as i32;
        let dots = || self.series.iter().flat_map(|series| series.values.iter().flatten());
        let ends = dots().flat_map(|dot| {
            let (low, high) = dot.interval.unwrap_or((dot.value, dot.value));
            [low, dot.value, high]
        });
        let axis = Axis::around(ends.collect::<Vec<_>>().into_iter(), (f64::NEG_INFINITY, f64::INFINITY));
        let x = |value: f64| pen.px(left) + axis.map(&value, (0, pen.px(WIDTH)));
        for tick in axis.key_points(BoldPoints(8)) {
            let ends = [(x(tick), pen.px(MARGIN)), (x(tick), pen.px(bottom))];
            area.draw(&PathElement::new(ends, pen.line(GRID, 1)))?;
            let place = (x(tick), pen.px(bottom + 12));
            area.draw(&Text::new(axis.format_ext(&tick), place, pen.small(MUTED, HPos::Center)))?;
        }
        let middle = (pen.px(left + WIDTH / 2), pen.px(bottom + 32));
        area.draw(&Text::new(self.quantity.clone(), middle, pen.text(INK, HPos::Center)))?;
        for (i, name) in self.rows.iter().enumerate() {
            let top = MARGIN + row_height * i as i32;
            let place = (pen.px(left - MARGIN), pen.px(top + row_height / 2));
            area.draw(&Text::new(name.clone(), place, pen.text(INK, HPos::Right)))?;
            for (number, series) in self.series.iter().enumerate() {
                let Some(Some(dot)) = series.values.get(i) else { continue };
                let y = pen.px(top + LINE / 4 + LINE * number as i32 + LINE / 2);
                let style = pen.line(color(number), 2);
                if let Some((low, high)) = dot.interval {
                    area.draw(&PathElement::new([(x(low), y), (x(high), y)], style))?;
                }
                area.draw(&Circle::new((x(dot.value), y), pen.px(4), color(number).filled()))?;
            }
        }
        for (number, series) in self.series.iter().enumerate() {
            let (at, y) = (left + WIDTH + 16, pen.px(MARGIN + LINE / 2 + LINE * number as i32));
            area.draw(&Circle::new((pen.px(at), y), pen.px(4), color(number).filled()))?;
            let words = Text::new(series.label.clone(), (pen.px(at + 12), y), pen.text(INK, HPos::Left));
            area.draw(&words)?;
        }
        Ok(())
    }
}
