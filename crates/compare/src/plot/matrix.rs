//! Numbers in rows and columns, shaded.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::figure::Drawn;
use super::style::{INK, MUTED, Pen};

/// A shaded matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Names of the rows.
    pub rows: Vec<String>,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Its cells, row by row; `None` is not known.
    pub cells: Vec<Vec<Option<Square>>>,
}

/// A cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Square {
    /// From 0, pale, to 1, dark.
    pub shade: f64,
    /// Its number.
    pub text: String,
    /// What stands below the number, smaller: an interval.
    pub note: String,
}

const HEIGHT: i32 = 36;
const HEADER: i32 = 28;

/// The ends of the shades.
const PALE: RGBColor = RGBColor(0xe8, 0xf0, 0xfb);
const DARK: RGBColor = RGBColor(0x12, 0x4c, 0x96);
const ON_PALE: RGBColor = RGBColor(0x0d, 0x11, 0x17);

impl Matrix {
    fn label_width(&self) -> i32 {
        self.rows.iter().map(|row| Pen::text_width(row)).max().unwrap_or(0) as i32 + 20
    }

    fn column_width(&self) -> i32 {
        self.columns.iter().map(|column| Pen::text_width(column)).max().unwrap_or(0).max(76) as i32 + 16
    }

    pub(super) fn size(&self) -> (u32, u32) {
        let width = self.label_width() + self.column_width() * self.columns.len() as i32 + 6;
        let height = HEADER + HEIGHT * self.rows.len() as i32 + 6;
        (width as u32, height as u32)
    }

    pub(super) fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, pen: Pen) -> Drawn<B, ()> {
        let (left, wide) = (self.label_width(), self.column_width());
        let at = |x: i32, y: i32| (pen.px(x), pen.px(y));
        for (j, column) in self.columns.iter().enumerate() {
            let x = left + wide * j as i32 + wide / 2;
            area.draw(&Text::new(column.clone(), at(x, HEADER / 2), pen.text(INK, HPos::Center)))?;
        }
        for (i, (name, cells)) in self.rows.iter().zip(&self.cells).enumerate() {
            let y = HEADER + HEIGHT * i as i32;
            let middle = y + HEIGHT / 2;
            area.draw(&Text::new(name.clone(), at(left - 10, middle), pen.text(INK, HPos::Right)))?;
            for (j, cell) in cells.iter().enumerate() {
                let x = left + wide * j as i32;
                let Some(square) = cell else {
                    area.draw(&Text::new("–", at(x + wide / 2, middle), pen.text(MUTED, HPos::Center)))?;
                    continue;
                };
                let corners = [at(x + 1, y + 1), at(x + wide - 1, y + HEIGHT - 1)];
                area.draw(&Rectangle::new(corners, mix(square.shade).filled()))?;
                let ink = if square.shade < 0.5 { ON_PALE } else { WHITE };
                let lift = if square.note.is_empty() { 0 } else { 7 };
                let center = x + wide / 2;
                let number = pen.text(ink, HPos::Center);
                area.draw(&Text::new(square.text.clone(), at(center, middle - lift), number))?;
                let note = pen.small(ink, HPos::Center);
                area.draw(&Text::new(square.note.clone(), at(center, middle + 9), note))?;
            }
        }
        Ok(())
    }
}

fn mix(shade: f64) -> RGBColor {
    let shade = if shade.is_finite() { shade.clamp(0.0, 1.0) } else { 0.0 };
    let between = |a: u8, b: u8| (f64::from(a) + shade * (f64::from(b) - f64::from(a))).round() as u8;
    RGBColor(between(PALE.0, DARK.0), between(PALE.1, DARK.1), between(PALE.2, DARK.2))
}
