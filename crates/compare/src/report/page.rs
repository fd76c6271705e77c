//! The page: what the template is given.

use std::collections::BTreeMap;

use minijinja::{Environment, UndefinedBehavior, context};
use serde::Serialize;

use super::Report;
use super::details::Details;
use crate::entry::Basis;
use crate::metric::Scale;
use crate::plot::{Background, Figure, Plot};
use crate::ranking::Ranking;
use crate::run::LeftOut;
use crate::stats::power::{Pairing, Plan};
use crate::table::{Align, Cell, Emphasis, Table, cell_text, sort_key};

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Entries by task and method, to link to.
type Links = BTreeMap<(String, String), String>;

/// The page of a report.
///
/// # Panics
/// Never: the template and all it is given are ours.
pub(super) fn render(report: &Report<'_>) -> String {
    let details: Vec<Details> = report
        .entries
        .iter()
        .enumerate()
        .map(|(i, entry)| {
            Details::of(format!("run-{i}"), entry, &report.entries, &report.settings)
                .expect("what was ranked can be pooled")
        })
        .collect();
    let links: Links = details.iter().map(|d| ((d.task.clone(), d.method.clone()), d.id.clone())).collect();
    let tests = report.tests();
    let tasks: Vec<TaskSection> = report
        .rankings
        .iter()
        .zip(&report.figures.tasks)
        .zip(&tests.sections)
        .enumerate()
        .map(|(i, ((ranking, figures), section))| TaskSection {
            id: format!("task-{i}"),
            title: ranking.task.clone(),
            figures: figures.iter().map(|figure| InlineFigure::new(figure, &ranking.task, &links)).collect(),
            sensitivity: sensitivity(ranking),
            tests: Some(Table { sections: vec![section.clone()], notes: Vec::new(), ..tests.clone() })
                .filter(|table| !table.sections[0].rows.is_empty())
                .map(|table| HtmlTable::of_tests(&table)),
        })
        .collect();
    let sequences: Vec<InlineFigure> =
        report.figures.sequences.iter().map(|(_, figure)| InlineFigure::new(figure, "", &links)).collect();
    let runs = report.entries.iter().map(|entry| entry.runs.len()).sum::<usize>();
    let newest = report.entries.iter().flat_map(|entry| &entry.runs).map(|run| run.record.created_at).max();
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_template("page.html", TEMPLATE).expect("the template parses");
    let template = environment.get_template("page.html").expect("it was added");
    let left_out: Vec<(&str, &str)> =
        report.left_out.iter().map(|LeftOut { id, reason }| (id.as_str(), reason.as_str())).collect();
    template
        .render(context! {
            style => STYLE,
            script => SCRIPT,
            runs,
            newest => newest.map(|time| time.strftime("%Y-%m-%d %H:%M UTC").to_string()),
            results => HtmlTable::new(&report.results(), &links),
            test_notes => tests.notes,
            overview => report.figures.overview.as_ref().map(|figure| InlineFigure::new(figure, "", &links)),
            tasks,
            sequences,
            details,
            left_out,
        })
        .expect("the template knows its context")
}

#[derive(Debug, Serialize)]
struct TaskSection {
    id: String,
    title: String,
    figures: Vec<InlineFigure>,
    /// What the items of the task can tell.
    sensitivity: Option<String>,
    tests: Option<HtmlTable>,
}

/// The smallest difference between the first two methods that these items and seeds would have told; nothing for scores
/// that are not right/wrong of single items.
fn sensitivity(ranking: &Ranking<'_>) -> Option<String> {
    let [first, second, ..] = &ranking.rows[..] else { return None };
    let (Basis::Scores(a), Basis::Scores(b)) = (&first.pooled.basis, &second.pooled.basis) else {
        return None;
    };
    if (a.clusters(), a.seeds()) != (b.clusters(), b.seeds()) {
        return None;
    }
    let plan = Plan::of_pilot(a, b).ok()?;
    let difference = plan.detectable_difference(a.clusters() as u64).ok()?;
    let Pairing::Paired { discordance } = plan.pairing else { return None };
    let (first, second) = (&first.entry.record().method, &second.entry.record().method);
    Some(format!(
        "{first} and {second} disagree on {:.1} % of the items. Between such methods {} items and {} tell differences from {:.1} \
         points on (80 % power, one pair at the {} level).",
        100.0 * discordance,
        a.clusters(),
        if a.seeds() == 1 { "one seed".to_owned() } else { format!("{} seeds", a.seeds()) },
        100.0 * difference,
        ranking.alpha
    ))
}

/// A figure as part of the page.
#[derive(Debug, Serialize)]
struct InlineFigure {
    name: String,
    title: String,
    caption: String,
    /// Where it belongs: `pareto`, `curves`, `matrix`.
    kind: &'static str,
    svg: String,
}

impl InlineFigure {
    /// Points that stand for an entry become links to its details, with the numbers in words.
    fn new(figure: &Figure, task: &str, links: &Links) -> Self {
        let (svg, marks) = figure.drawing(Background::Transparent);
        let (width, height) = figure.size();
        let body = svg.split_once('>').map_or("", |(_, rest)| rest).trim_end().trim_end_matches("</svg>");
        let dots: Vec<String> = marks
            .iter()
            .map(|mark| {
                let target = match &figure.plot {
                    Plot::Pareto(pareto) => {
                        links.get(&(task.to_owned(), pareto.points[mark.index].label.clone()))
                    }
                    Plot::Curves(_) | Plot::Points(_) | Plot::Matrix(_) => None,
                };
                let (x, y) = mark.at;
                let words = escaped(&mark.words);
                let href = target.map(|id| format!(" href=\"#{id}\"")).unwrap_or_default();
                format!(
                    "<a{href} aria-label=\"{words}\"><circle class=\"mark\" cx=\"{x}\" cy=\"{y}\" r=\"10\">\
                     <title>{words}</title></circle></a>"
                )
            })
            .collect();
        let dots = dots.concat();
        let title = escaped(&figure.title);
        // A picture, unless it holds links.
        let role = if marks.is_empty() { "img" } else { "group" };
        Self {
            name: figure.name.clone(),
            title: figure.title.clone(),
            caption: figure.caption.clone(),
            kind: match &figure.plot {
                Plot::Pareto(_) => "pareto",
                Plot::Curves(_) => "curves",
                Plot::Points(_) => "points",
                Plot::Matrix(_) => "matrix",
            },
            svg: format!(
                "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" role=\"{role}\" aria-label=\"{title}\" \
                 xmlns=\"http://www.w3.org/2000/svg\">{body}{dots}</svg>"
            ),
        }
    }
}

/// A table whose columns can be sorted.
#[derive(Debug, Serialize)]
struct HtmlTable {
    title: String,
    labels: Vec<&'static str>,
    columns: Vec<HtmlColumn>,
    rows: Vec<HtmlRow>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct HtmlColumn {
    header: &'static str,
    numeric: bool,
}

#[derive(Debug, Serialize)]
struct HtmlRow {
    labels: Vec<String>,
    cells: Vec<HtmlCell>,
    best: bool,
    /// Details of the row.
    link: Option<String>,
}

#[derive(Debug, Serialize)]
struct HtmlCell {
    text: String,
    /// What the column is sorted by; empty for what is not known.
    sort: String,
    numeric: bool,
    /// Ends of an interval of fractions, in percent, to be drawn.
    ends: Option<(f64, f64)>,
}

impl HtmlTable {
    /// Tests of one task: no links, no bars, and the task is in the heading.
    fn of_tests(table: &Table) -> Self {
        let mut table = Self::new(table, &Links::new());
        table.labels.clear();
        for row in &mut table.rows {
            row.labels.clear();
            for cell in &mut row.cells {
                cell.ends = None;
            }
        }
        table
    }

    fn new(table: &Table, links: &Links) -> Self {
        let rows = table.sections.iter().flat_map(|section| {
            section.rows.iter().map(|row| {
                let method = match row.cells.first() {
                    Some(Cell::Text(method)) => method.clone(),
                    _ => String::new(),
                };
                let task = section.labels.first().cloned().unwrap_or_default();
                let cells = row.cells.iter().zip(&table.columns).map(|(cell, column)| HtmlCell {
                    text: cell_text(cell),
                    sort: sort_key(cell),
                    numeric: column.align == Align::Right,
                    ends: match cell {
                        Cell::Interval(low, high, Scale::Fraction) if *low >= 0.0 && *high <= 1.0 => {
                            Some((100.0 * low, 100.0 * high))
                        }
                        _ => None,
                    },
                });
                HtmlRow {
                    labels: section.labels.clone(),
                    cells: cells.collect(),
                    best: row.emphasis == Emphasis::Best,
                    link: links.get(&(task, method)).cloned(),
                }
            })
        });
        Self {
            title: table.title.clone(),
            labels: table.labels.clone(),
            rows: rows.collect(),
            columns: table
                .columns
                .iter()
                .map(|column| HtmlColumn { header: column.header, numeric: column.align == Align::Right })
                .collect(),
            notes: table.notes.clone(),
        }
    }
}

fn escaped(text: &str) -> String {
    minijinja::HtmlEscape(text).to_string()
}
