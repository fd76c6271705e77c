//! Tables for a terminal.

use std::io::IsTerminal;

use comfy_table::{Attribute, CellAlignment, Color, ContentArrangement, LineStyle, TableStyle};

use super::model::{Align, Cell, Emphasis, ONE_SEED, Table};
use super::text::{OneSeed, Signs};

/// What the terminal can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalStyle {
    /// Width to fit into; `None` is without limit.
    pub width: Option<u16>,
    /// Whether the best group may be colored.
    pub color: bool,
    /// Whether lines and signs outside ASCII may be used.
    pub unicode: bool,
}

impl TerminalStyle {
    /// For a file or a pipe: no color, no limit of width.
    pub const PLAIN: Self = Self { width: None, color: false, unicode: true };

    /// What standard output can do: color and width on a terminal (`NO_COLOR` is honored), [`Self::PLAIN`] elsewhere.
    pub fn detect() -> Self {
        if !std::io::stdout().is_terminal() {
            return Self::PLAIN;
        }
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        Self {
            width: comfy_table::Table::new().width(),
            color: set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb"),
            unicode: locale
                .is_none_or(|locale| locale.to_ascii_lowercase().replace('-', "").contains("utf8")),
        }
    }
}

const SIGNS: Signs = Signs {
    gap: " ",
    unknown: "–",
    times: " × ",
    escape: |text| text.replace(['\n', '\r'], " "),
    number: |text| text.into(),
    // A mark or the room for one, so that numbers stand in line.
    score: |number, one_seed, _| format!("{number}{}", if one_seed == OneSeed::Yes { ONE_SEED } else { " " }),
};

/// The table as lines of text; the best group's scores are bold and green, or marked `*` where there is no color.
///
/// In a narrow terminal columns that can be done without are left out, and a note says which.
pub fn terminal(table: &Table, style: TerminalStyle) -> String {
    let mut shown: Vec<usize> = (0..table.columns.len()).collect();
    let mut left_out = Vec::new();
    while style.width.is_some_and(|width| natural_width(table, &shown, style) > usize::from(width)) {
        let next = (0..shown.len()).max_by_key(|&i| table.columns[shown[i]].expendable);
        let Some(next) = next.filter(|&i| table.columns[shown[i]].expendable.is_some()) else { break };
        left_out.push(table.columns[shown.remove(next)].header);
    }
    let mut grid = grid(table, &shown, style);
    if let Some(width) = style.width {
        grid.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    let mut lines = vec![table.title.clone()];
    lines.extend(grid.lines().map(|line| line.trim_end().to_owned()));
    lines.extend(table.notes.iter().cloned());
    if !left_out.is_empty() {
        lines.push(format!("No room for: {}.", left_out.join(", ")));
    }
    let text = lines.join("\n") + "\n";
    if style.unicode {
        text
    } else {
        text.replace(ONE_SEED, "+").replace('–', "-").replace('’', "'").replace('×', "x").replace('·', ",")
    }
}

/// Columns of the terminal that the table takes without wrapping.
fn natural_width(table: &Table, shown: &[usize], style: TerminalStyle) -> usize {
    let content = grid(table, shown, TerminalStyle { color: false, ..style }).column_max_content_widths();
    // Padding to the right of each column and a blank between columns.
    content.iter().map(|&width| usize::from(width) + 1).sum::<usize>() + content.len().saturating_sub(1)
}

fn grid(table: &Table, shown: &[usize], style: TerminalStyle) -> comfy_table::Table {
    let mut grid = ruled(style);
    grid.set_header(shown.iter().map(|&i| table.columns[i].header));
    for (number, section) in table.sections.iter().enumerate() {
        if number > 0 {
            grid.add_row([""]);
        }
        if !section.labels.is_empty() {
            grid.add_row([bold(comfy_table::Cell::new(section.labels.join(" · ")), style)]);
        }
        for row in &section.rows {
            grid.add_row(shown.iter().map(|&i| cell(&row.cells[i], row.emphasis, style)));
        }
    }
    for (&i, column) in shown.iter().zip(grid.column_iter_mut()) {
        column.set_padding((0, 1));
        column.set_cell_alignment(match table.columns[i].align {
            Align::Left => CellAlignment::Left,
            Align::Right => CellAlignment::Right,
        });
    }
    if style.color {
        grid.enforce_styling()
    } else {
        grid.force_no_tty()
    };
    grid
}

/// A table with lines above, below and under the header.
fn ruled(style: TerminalStyle) -> comfy_table::Table {
    let line = if style.unicode { '─' } else { '-' };
    let rule = LineStyle::none().fill(line).junction(line);
    let mut grid = comfy_table::Table::new();
    grid.load_style(TableStyle::new().top_border(rule).header_separator(rule).bottom_border(rule));
    grid.set_content_arrangement(ContentArrangement::Disabled);
    grid
}

/// A listing in the look of [`terminal`]: a header and rows of words, wrapped where the terminal is narrow.
pub fn listing(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>, style: TerminalStyle) -> String {
    let mut grid = ruled(style);
    grid.set_header(header).add_rows(rows);
    for column in grid.column_iter_mut() {
        column.set_padding((0, 1));
    }
    if let Some(width) = style.width {
        grid.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    grid.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn cell(content: &Cell, emphasis: Emphasis, style: TerminalStyle) -> comfy_table::Cell {
    let text = SIGNS.cell(content, emphasis);
    match (content, emphasis) {
        (Cell::Score(..), Emphasis::Best) if style.color => {
            bold(comfy_table::Cell::new(text).fg(Color::Green), style)
        }
        (Cell::Score(..), Emphasis::Best) => comfy_table::Cell::new(format!("*{text}")),
        _ => comfy_table::Cell::new(text),
    }
}

fn bold(cell: comfy_table::Cell, style: TerminalStyle) -> comfy_table::Cell {
    if style.color { cell.add_attribute(Attribute::Bold) } else { cell }
}
