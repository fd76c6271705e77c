//! Scores against a cost, with the front that no method surpasses.

use plotters::coord::Shift;
use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axis::Axis;
use super::figure::{Drawn, Mark};
use super::style::{GRID, INK, MUTED, Pen, SHADE, color};
use crate::metric::{Better, Scale};
use crate::table::{bytes, duration, quantity};

/// Scores of one task against one cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Pareto {
    /// The cost.
    pub cost: Cost,
    /// The metric.
    pub metric: String,
    /// What its numbers are.
    pub scale: Scale,
    /// Which way it improves.
    pub better: Better,
    /// The methods.
    pub points: Vec<Contestant>,
}

/// What a method costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Values that train.
    Trainable,
    /// Peak memory.
    Memory,
    /// Seconds of training.
    Time,
    /// Size of the saved adapter.
    File,
}

/// A method in the plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Contestant {
    /// Its name.
    pub label: String,
    /// Number of its color.
    pub color: usize,
    /// Its cost.
    pub cost: f64,
    /// Its score.
    pub score: f64,
    /// Interval of the score.
    pub interval: Option<(f64, f64)>,
    /// How it stands to methods that cost no more.
    pub standing: Standing,
}

/// How a method stands to those that cost no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// None scores better.
    Front,
    /// One scores better, but none is told apart from it.
    Tied,
    /// One is better, told apart by the test.
    Beaten,
}

impl Cost {
    /// All costs.
    pub const ALL: [Self; 4] = [Self::Trainable, Self::Memory, Self::Time, Self::File];

    /// Its name.
    pub fn label(self) -> &'static str {
        match self {
            Self::Trainable => "trainable parameters",
            Self::Memory => "peak memory",
            Self::Time => "training time",
            Self::File => "adapter file size",
        }
    }

    /// A value with its unit.
    pub fn format(self, value: f64) -> String {
        match self {
            Self::Trainable => quantity(value.round() as u64),
            Self::Memory | Self::File => bytes(value.round() as u64),
            Self::Time => duration(value),
        }
    }
}

impl Pareto {
    pub(super) const SIZE: (u32, u32) = (560, 400);

    /// In percent, where the scores are fractions.
    fn shown(&self, score: f64) -> f64 {
        if self.scale == Scale::Fraction { 100.0 * score } else { score }
    }

    /// The best scores by rising cost, of `score` or an end of the intervals.
    fn front(&self, score: impl Fn(&Contestant) -> f64) -> Vec<(f64, f64)> {
        let mut points: Vec<(f64, f64)> = self.points.iter().map(|p| (p.cost, score(p))).collect();
        let surpasses = |a: f64, b: f64| if self.better == Better::Higher { a > b } else { a < b };
        points.sort_by(|a, b| {
            let by_score =
                if surpasses(a.1, b.1) { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater };
            a.0.total_cmp(&b.0).then(by_score)
        });
        let mut front: Vec<(f64, f64)> = Vec::new();
        for point in points {
            if front.last().is_none_or(|last| surpasses(point.1, last.1)) {
                front.push(point);
            }
        }
        front
    }

    /// The points of a front as a stair that ends at `right`.
    fn stair(front: &[(f64, f64)], right: f64) -> Vec<(f64, f64)> {
        let mut stair = Vec::new();
        for (i, &(cost, score)) in front.iter().enumerate() {
            stair.push((cost, score));
            stair.push((front.get(i + 1).map_or(right, |next| next.0), score));
        }
        stair
    }

    pub(super) fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        pen: Pen,
    ) -> Drawn<B, Vec<Mark>> {
        let low = |p: &Contestant| self.shown(p.interval.map_or(p.score, |i| i.0));
        let high = |p: &Contestant| self.shown(p.interval.map_or(p.score, |i| i.1));
        let ends = || self.points.iter().flat_map(|p| [low(p), high(p)]);
        let bounds = match self.scale {
            // Correlations may be negative.
            Scale::Fraction if ends().any(|end| end < 0.0) => (-100.0, 100.0),
            Scale::Fraction => (0.0, 100.0),
            Scale::Plain => (f64::NEG_INFINITY, f64::INFINITY),
        };
        let scores = Axis::around(ends(), bounds);
        let costs = Axis::of_costs(self.points.iter().map(|p| p.cost));
        let unit = if self.scale == Scale::Fraction { " (%)" } else { "" };
        let (right, score_ends) = (costs.range().end, scores.range());
        let mut chart = ChartBuilder::on(area)
            .margin(pen.px(12))
            .margin_right(pen.px(28))
            .x_label_area_size(pen.px(38))
            .y_label_area_size(pen.px(56))
            .build_cartesian_2d(costs, scores)?;
        chart
            .configure_mesh()
            .max_light_lines(0)
            .bold_line_style(pen.line(GRID, 1))
            .axis_style(pen.line(MUTED, 1))
            .label_style(pen.text(MUTED, HPos::Left))
            .axis_desc_style(pen.text(INK, HPos::Left))
            .x_desc(self.cost.label())
            .y_desc(format!("{}{unit}", self.metric))
            .x_label_formatter(&|&cost| self.cost.format(cost))
            .draw()?;

        let stair = |score: &dyn Fn(&Contestant) -> f64| -> Vec<(f64, f64)> {
            Self::stair(&self.front(score), right)
        };
        let middle = stair(&|p| self.shown(p.score));
        // What the front surpasses, then the band in which it may lie.
        let floor = if self.better == Better::Higher { score_ends.start } else { score_ends.end };
        if let (Some(first), Some(last)) = (middle.first(), middle.last()) {
            let mut region = middle.clone();
            region.extend([(last.0, floor), (first.0, floor)]);
            chart.draw_series([Polygon::new(region, SHADE.mix(0.07))])?;
        }
        let (mut band, lower) = (stair(&high), stair(&low));
        band.extend(lower.into_iter().rev());
        chart.draw_series([Polygon::new(band, SHADE.mix(0.14))])?;
        chart.draw_series(LineSeries::new(middle, pen.line(SHADE, 2)))?;

        let mut marks = Vec::new();
        for (index, point) in self.points.iter().enumerate() {
            let (x, y) = (point.cost, self.shown(point.score));
            let shade = color(point.color);
            chart.draw_series([PathElement::new([(x, low(point)), (x, high(point))], pen.line(shade, 2))])?;
            match point.standing {
                Standing::Front => chart.draw_series([Circle::new((x, y), pen.px(6), shade.filled())])?,
                Standing::Tied => {
                    chart.draw_series([Circle::new((x, y), pen.px(6), WHITE.filled())])?;
                    chart.draw_series([Circle::new((x, y), pen.px(6), pen.line(shade, 2))])?
                }
                Standing::Beaten => chart.draw_series([Circle::new((x, y), pen.px(3), shade.filled())])?,
            };
            let interval =
                point.interval.map(|(a, b)| format!(" [{:.1}, {:.1}]", self.shown(a), self.shown(b)));
            let words = format!(
                "{}: {:.1}{}, {} {}",
                point.label,
                y,
                interval.unwrap_or_default(),
                self.cost.format(point.cost),
                self.cost.label()
            );
            marks.push(Mark { at: chart.backend_coord(&(x, y)), index, words });
        }
        self.draw_labels(area, pen, &marks)?;
        Ok(marks)
    }

    /// A name beside each point where there is room; the front comes first.
    fn draw_labels<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        pen: Pen,
        marks: &[Mark],
    ) -> Drawn<B, ()> {
        let (width, height) = (pen.px(Self::SIZE.0 as i32), pen.px(Self::SIZE.1 as i32));
        let around = |(x, y): (i32, i32), r: i32| [x - r, y - r, x + r, y + r];
        let mut taken: Vec<[i32; 4]> = marks.iter().map(|mark| around(mark.at, pen.px(6))).collect();
        let mut order: Vec<&Mark> = marks.iter().collect();
        order.sort_by_key(|mark| match self.points[mark.index].standing {
            Standing::Front => 0,
            Standing::Tied => 1,
            Standing::Beaten => 2,
        });
        for mark in order {
            let point = &self.points[mark.index];
            let half = (pen.px(Pen::text_width(&point.label) as i32) / 2, pen.px(7));
            let away = pen.px(7);
            let (x, y) = mark.at;
            let centers = [
                // Off the stair first.
                (x + away + half.0, y - pen.px(11)),
                (x + away + half.0, y + pen.px(11)),
                (x - away - half.0, y - pen.px(11)),
                (x - away - half.0, y + pen.px(11)),
                (x + away + half.0, y),
                (x - away - half.0, y),
            ];
            let free = |&(x, y): &(i32, i32)| {
                let [left, top, right, bottom] = [x - half.0, y - half.1, x + half.0, y + half.1];
                left > pen.px(70)
                    && right < width
                    && top > 0
                    && bottom < height - pen.px(50)
                    && !taken.iter().any(|t| left < t[2] && right > t[0] && top < t[3] && bottom > t[1])
            };
            let Some(&(x, y)) = centers.iter().find(|center| free(center)) else { continue };
            taken.push([x - half.0, y - half.1, x + half.0, y + half.1]);
            area.draw(&Text::new(point.label.clone(), (x, y), pen.text(INK, HPos::Center)))?;
        }
        Ok(())
    }
}
