//! Lines: something over the steps of training, or over a setting.

use std::collections::BTreeSet;

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axis::{Axis, Spacing};
use super::figure::Drawn;
use super::style::{GRID, INK, MUTED, Pen, color, dash};

/// Lines over optimizer steps, or another number.
#[derive(Clone, Debug, PartialEq)]
pub struct Curves {
    /// What they go over.
    pub over: String,
    /// How that is spaced.
    pub spacing: Spacing,
    /// What the lines are of, with its unit.
    pub quantity: String,
    /// The lines; those with one label have one color.
    pub series: Vec<Series>,
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The method.
    pub label: String,
    /// Number of its color.
    pub color: usize,
    /// Step and value; lines break where a value is not finite.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: u32 = 560;
const LEGEND_ROW: i32 = 18;

impl Curves {
    /// Methods with the numbers of their colors.
    fn legend(&self) -> Vec<(&str, usize)> {
        let labels: BTreeSet<(usize, &str)> =
            self.series.iter().map(|series| (series.color, series.label.as_str())).collect();
        labels.into_iter().map(|(color, label)| (label, color)).collect()
    }

    fn legend_width(&self) -> u32 {
        self.series.iter().map(|series| Pen::text_width(&series.label)).max().unwrap_or(0) + 46
    }

    pub(super) fn size(&self) -> (u32, u32) {
        let rows = self.legend().len() as u32 * LEGEND_ROW as u32;
        (WIDTH + self.legend_width(), (rows + 50).max(320))
    }

    pub(super) fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, pen: Pen) -> Drawn<B, ()> {
        let points =
            || self.series.iter().flat_map(|series| &series.points).filter(|point| point.1.is_finite());
        let steps = Axis::of_settings(points().map(|point| point.0), self.spacing);
        let values = Axis::of_losses(points().map(|point| point.1));
        let (plot, legend) = area.split_horizontally(pen.px(WIDTH as i32));
        let mut chart = ChartBuilder::on(&plot)
            .margin(pen.px(12))
            .x_label_area_size(pen.px(38))
            .y_label_area_size(pen.px(62))
            .build_cartesian_2d(steps, values)?;
        chart
            .configure_mesh()
            .max_light_lines(0)
            .bold_line_style(pen.line(GRID, 1))
            .axis_style(pen.line(MUTED, 1))
            .label_style(pen.text(MUTED, HPos::Left))
            .axis_desc_style(pen.text(INK, HPos::Left))
            .x_desc(&self.over)
            .y_desc(self.quantity.clone())
            .draw()?;
        for series in &self.series {
            let style = pen.line(color(series.color), 2);
            for part in series.points.split(|point| !point.1.is_finite()).filter(|part| !part.is_empty()) {
                let line = part.iter().copied();
                match dash(series.color) {
                    None => chart.draw_series(LineSeries::new(line, style)).map(drop)?,
                    Some((on, off)) => chart
                        .draw_series(DashedLineSeries::new(
                            line,
                            pen.px(on) as u32,
                            pen.px(off) as u32,
                            style,
                        ))
                        .map(drop)?,
                }
                // Few points are single measurements.
                if part.len() <= SINGLE {
                    let dots = part.iter().map(|&(step, value)| {
                        Circle::new((step, value), pen.px(3), color(series.color).filled())
                    });
                    chart.draw_series(dots)?;
                }
            }
        }
        for (row, (label, number)) in self.legend().into_iter().enumerate() {
            let y = pen.px(24 + LEGEND_ROW * row as i32);
            let ends = [(pen.px(8), y), (pen.px(30), y)];
            let style = pen.line(color(number), 3);
            match dash(number) {
                None => legend.draw(&PathElement::new(ends, style))?,
                Some((on, off)) => {
                    let (on, off) = (pen.px(on) as u32, pen.px(off) as u32);
                    legend.draw(&DashedPathElement::new(ends, on, off, style))?;
                }
            }
            legend.draw(&Text::new(label.to_owned(), (pen.px(36), y), pen.text(INK, HPos::Left)))?;
        }
        Ok(())
    }
}

/// Up to so many points of a line are marked.
const SINGLE: usize = 30;
