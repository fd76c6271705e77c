//! Tables as GitHub-flavored Markdown.

use super::model::{Align, Emphasis, ONE_SEED, Table};
use super::text::{OneSeed, Signs};

/// A number and its unit stay on one line.
const SIGNS: Signs =
    Signs {
        gap: "\u{a0}", unknown: "–", times: "\u{a0}×\u{a0}", escape, number: |text| text.into(), score
    };

/// The table as Markdown; scores of the best group are bold. Labels of the sections are columns of their own.
pub fn markdown(table: &Table) -> String {
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let rule = |align: Align| if align == Align::Left { ":--" } else { "--:" }.to_owned();
    let labels = || table.labels.iter().map(|label| escape(label));
    let mut lines = vec![format!("**{}**", escape(&table.title)), String::new()];
    lines.push(line(labels().chain(table.columns.iter().map(|c| escape(c.header))).collect()));
    lines.push(line(
        labels().map(|_| rule(Align::Left)).chain(table.columns.iter().map(|c| rule(c.align))).collect(),
    ));
    for section in &table.sections {
        for row in &section.rows {
            let cells = row.cells.iter().map(|cell| SIGNS.cell(cell, row.emphasis));
            lines.push(line(section.labels.iter().map(|label| escape(label)).chain(cells).collect()));
        }
    }
    for note in &table.notes {
        lines.extend([String::new(), escape(note)]);
    }
    lines.join("\n") + "\n"
}

fn score(number: &str, one_seed: OneSeed, emphasis: Emphasis) -> String {
    let number = if emphasis == Emphasis::Best { format!("**{number}**") } else { number.into() };
    if one_seed == OneSeed::Yes { number + ONE_SEED } else { number }
}

/// Characters that Markdown would take for its own.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '~' => out.extend(['\\', c]),
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
