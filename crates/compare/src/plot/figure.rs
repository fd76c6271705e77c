//! A figure, and how it becomes a file.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::style::Pen;
use super::{Curves, Matrix, Pareto, Points};

/// A figure with the words that go with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Stem of its files.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// The drawing.
    pub plot: Plot,
}

/// The drawing of a figure.
#[derive(Clone, Debug, PartialEq)]
pub enum Plot {
    /// Scores against a cost.
    Pareto(Pareto),
    /// Something over the steps of training.
    Curves(Curves),
    /// Scores by name.
    Points(Points),
    /// Numbers in rows and columns.
    Matrix(Matrix),
}

/// What is behind a drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Background {
    White,
    Transparent,
}

/// A point of a drawing that stands for something, in units of the SVG.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mark {
    pub(crate) at: (i32, i32),
    /// Index of the point in its plot.
    pub(crate) index: usize,
    /// The point in words.
    pub(crate) words: String,
}

/// What drawing on a backend returns.
pub(super) type Drawn<B, T> = Result<T, DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

impl Figure {
    /// The figure as an SVG document on white.
    pub fn svg(&self) -> String {
        self.drawing(Background::White).0
    }

    /// The figure as a PNG file on white, two pixels for each unit of the SVG.
    ///
    /// # Panics
    /// Never: memory takes every drawing.
    pub fn png(&self) -> Vec<u8> {
        const SCALE: u32 = 2;
        let (width, height) = self.size();
        let (width, height) = (SCALE * width, SCALE * height);
        let mut pixels = vec![0; 3 * width as usize * height as usize];
        {
            let area = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
            area.fill(&WHITE).expect("memory takes all");
            self.draw(&area, Pen { scale: SCALE }).expect("memory takes all");
            area.present().expect("memory takes all");
        }
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().expect("memory takes all");
        writer.write_image_data(&pixels).expect("the buffer has one value for each channel");
        writer.finish().expect("memory takes all");
        file
    }

    /// The SVG, and the points in it that stand for something.
    pub(crate) fn drawing(&self, background: Background) -> (String, Vec<Mark>) {
        let mut text = String::new();
        let marks = {
            let area = SVGBackend::with_string(&mut text, self.size()).into_drawing_area();
            if background == Background::White {
                area.fill(&WHITE).expect("memory takes all");
            }
            let marks = self.draw(&area, Pen { scale: 1 }).expect("memory takes all");
            area.present().expect("memory takes all");
            marks
        };
        (text, marks)
    }

    /// Width and height in units.
    pub(crate) fn size(&self) -> (u32, u32) {
        match &self.plot {
            Plot::Pareto(_) => Pareto::SIZE,
            Plot::Curves(curves) => curves.size(),
            Plot::Points(points) => points.size(),
            Plot::Matrix(matrix) => matrix.size(),
        }
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, pen: Pen) -> Drawn<B, Vec<Mark>> {
        match &self.plot {
            Plot::Pareto(pareto) => pareto.draw(area, pen),
            Plot::Curves(curves) => curves.draw(area, pen).map(|()| Vec::new()),
            Plot::Points(points) => points.draw(area, pen).map(|()| Vec::new()),
            Plot::Matrix(matrix) => matrix.draw(area, pen).map(|()| Vec::new()),
        }
    }
}
