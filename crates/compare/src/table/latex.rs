//! Tables as LaTeX with the `booktabs` package.

use super::model::{Align, Emphasis, ONE_SEED, Table};
use super::text::{OneSeed, Signs};

const SIGNS: Signs = Signs {
    gap: "\\,",
    unknown: "--",
    times: " $\\times$ ",
    escape,
    number: |text| format!("${text}$"),
    score,
};

/// The table as a `tabular` (needs `\usepackage{booktabs}`); scores of the best *group* are bold, not the best number.
pub fn latex(table: &Table) -> String {
    let alignment: String =
        table.columns.iter().map(|c| if c.align == Align::Left { 'l' } else { 'r' }).collect();
    let line = |cells: Vec<String>| format!("{} \\\\", cells.join(" & "));
    let mut lines = vec![
        format!("% {}", table.title.replace(['\n', '\r'], " ")),
        format!("\\begin{{tabular}}{{{alignment}}}"),
        "\\toprule".into(),
        line(table.columns.iter().map(|c| escape(c.header)).collect()),
    ];
    for section in &table.sections {
        lines.push("\\midrule".into());
        if !section.labels.is_empty() {
            let heading = section.labels.iter().map(|label| escape(label)).collect::<Vec<_>>().join(", ");
            let columns = table.columns.len();
            lines.push(format!("\\multicolumn{{{columns}}}{{l}}{{\\emph{{{heading}}}}} \\\\"));
        }
        for row in &section.rows {
            lines.push(line(row.cells.iter().map(|cell| SIGNS.cell(cell, row.emphasis)).collect()));
        }
    }
    lines.extend(["\\bottomrule".into(), "\\end{tabular}".into()]);
    lines.extend(
        table.notes.iter().map(|note| format!("\\par{{\\footnotesize\\noindent {}\\par}}", escape(note))),
    );
    lines.join("\n") + "\n"
}

fn score(number: &str, one_seed: OneSeed, emphasis: Emphasis) -> String {
    let number =
        if emphasis == Emphasis::Best { format!("\\textbf{{\\boldmath{number}}}") } else { number.into() };
    if one_seed == OneSeed::Yes { number + &escape(ONE_SEED) } else { number }
}

/// Characters that LaTeX would take for its own, and those plain fonts lack.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("$<$"),
            '>' => out.push_str("$>$"),
            '×' => out.push_str("$\\times$"),
            '†' => out.push_str("\\textsuperscript{\\textdagger}"),
            '–' => out.push_str("--"),
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
