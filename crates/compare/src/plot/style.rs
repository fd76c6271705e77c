//! Colors, font and sizes of all figures.

use std::sync::Once;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};

/// Axes and words. The page maps these three to its own colors, so they appear nowhere else.
pub(crate) const INK: RGBColor = RGBColor(0x1b, 0x1f, 0x24);
/// Words of less weight.
pub(crate) const MUTED: RGBColor = RGBColor(0x57, 0x60, 0x6a);
/// Lines behind the data.
pub(crate) const GRID: RGBColor = RGBColor(0xdf, 0xe3, 0xe8);
/// What is shaded.
pub(crate) const SHADE: RGBColor = RGBColor(0x3b, 0x7d, 0xd8);

/// Middle tones, readable on white and on black; methods keep theirs through all figures of a report.
const COLORS: [RGBColor; 10] = [
    RGBColor(0x3b, 0x7d, 0xd8),
    RGBColor(0xd9, 0x66, 0x2b),
    RGBColor(0x2f, 0x9e, 0x5f),
    RGBColor(0xc2, 0x45, 0x7e),
    RGBColor(0x8a, 0x63, 0xd2),
    RGBColor(0xb8, 0x86, 0x0b),
    RGBColor(0x1a, 0x9b, 0xb0),
    RGBColor(0xd1, 0x4b, 0x4b),
    RGBColor(0x7a, 0x8b, 0x2a),
    RGBColor(0x8c, 0x6d, 0x5a),
];

/// The color of the n-th method.
pub(crate) fn color(index: usize) -> RGBColor {
    COLORS[index % COLORS.len()]
}

/// Lines beyond the tenth are dashed, beyond the twentieth dotted.
pub(crate) fn dash(index: usize) -> Option<(i32, i32)> {
    match index / COLORS.len() {
        0 => None,
        1 => Some((7, 4)),
        _ => Some((2, 3)),
    }
}

/// Size of most words.
const SIZE: u32 = 13;

/// Lengths in pixels of the output: an SVG has one for each unit, a PNG two.
#[derive(Clone, Copy)]
pub(crate) struct Pen {
    pub(crate) scale: u32,
}

impl Pen {
    pub(crate) fn px(self, length: i32) -> i32 {
        length * self.scale as i32
    }

    pub(crate) fn line(self, color: RGBColor, width: u32) -> ShapeStyle {
        color.stroke_width(width * self.scale)
    }

    /// Text of 13 units, anchored at the left, middle or right of its middle line.
    pub(crate) fn text(self, color: RGBColor, anchor: HPos) -> TextStyle<'static> {
        self.sized(SIZE, color, anchor)
    }

    pub(crate) fn small(self, color: RGBColor, anchor: HPos) -> TextStyle<'static> {
        self.sized(11, color, anchor)
    }

    fn sized(self, size: u32, color: RGBColor, anchor: HPos) -> TextStyle<'static> {
        load_font();
        ("sans-serif", size * self.scale).into_font().color(&color).pos(Pos::new(anchor, VPos::Center))
    }

    /// Width of a text of the usual size, in units.
    pub(crate) fn text_width(text: &str) -> u32 {
        load_font();
        let font = ("sans-serif", SIZE).into_font();
        font.box_size(text).map_or(7 * text.chars().count() as u32, |(width, _)| width)
    }
}

/// Makes the bundled font known to plotters, once.
fn load_font() {
    static LOADED: Once = Once::new();
    LOADED.call_once(|| {
        let bytes = include_bytes!("../../fonts/DejaVuSans-subset.ttf");
        assert!(
            register_font("sans-serif", FontStyle::Normal, bytes).is_ok(),
            "the bundled font is a valid font"
        );
    });
}
