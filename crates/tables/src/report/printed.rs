//! The table of cells.

use std::collections::BTreeSet;

use compare::Replication;
use compare::table::{Cell, Column, Emphasis, Row, Section, Table};
use indexmap::IndexSet;

use super::{Compared, Report};
use crate::cell::{Grade, Origin};
use crate::pack::Pack;
use crate::plan::Scale;
use crate::verdict::{AGREEMENT_WIDTH, Reason, Verdict};

impl Report<'_> {
    /// Ours beside the paper's, one row for each number.
    pub fn table(&self) -> Table {
        let columns = vec![
            Column::left("row", &["row"]),
            Column::right("paper", &["paper"]),
            Column::left("grade", &["grade"]),
            Column::right("ours", &["value"]),
            Column::right("interval", &["ci_low", "ci_high"]),
            Column::left("ties", &["ties"]).expendable(2),
            Column::right("n × seeds", &["n_items", "seeds"]).expendable(1),
            Column::left("verdict", &["verdict"]),
        ];
        let reasons = self.reasons();
        let mut sections: Vec<Section> = Vec::new();
        for cell in &self.cells {
            let column = &self.pack.columns[&cell.column].label;
            let labels =
                vec![self.pack.models[&cell.model].label.clone(), self.heading(column, &cell.column)];
            if sections.last().is_none_or(|section| section.labels != labels) {
                sections.push(Section { labels, rows: Vec::new() });
            }
            let section = sections.last_mut().expect("one was just added");
            section.rows.push(self.row(cell, &reasons));
        }
        Table {
            title: title(self.pack),
            labels: vec!["model", "column"],
            columns,
            sections,
            notes: self.notes(&reasons),
        }
    }

    /// On the built-in suite the task that stands for a column is named with it.
    pub(super) fn heading(&self, label: &str, column: &str) -> String {
        match (self.scale, self.pack.mini.columns.get(column)) {
            (Scale::Mini, Some(task)) => format!("{label} ← {task}"),
            _ => label.to_owned(),
        }
    }

    fn row(&self, cell: &Compared, reasons: &IndexSet<String>) -> Row {
        let column = &self.pack.columns[&cell.column];
        let row = &self.pack.rows[&cell.row];
        let mark = if row.origin == Origin::Paper { "" } else { origin_mark(row.origin) };
        let paper = cell.paper.map(|(value, _)| column.print(value));
        let grade = cell.paper.map(|(_, paper)| paper.grade.mark().to_owned());
        let ours = cell.ours.as_ref();
        let mut verdict = cell.verdict.label().to_owned();
        if let Verdict::NotComparable(Reason::Departs(list)) = &cell.verdict {
            let numbers = list.iter().filter_map(|reason| reasons.get_index_of(reason));
            let numbers: Vec<String> = numbers.map(|index| (index + 1).to_string()).collect();
            verdict = format!("{verdict} ({})", numbers.join(", "));
        }
        let cells = vec![
            Cell::Text(format!("{}{mark}", row.label)),
            Cell::known(paper, Cell::Text),
            Cell::Text(grade.unwrap_or_default()),
            Cell::known(ours, |score| Cell::Score(score.value, score.scale, score.replication)),
            Cell::known(ours.and_then(|s| Some((s.interval?, s.scale))), |((low, high), scale)| {
                Cell::Interval(low, high, scale)
            }),
            Cell::known(ours.map(|s| s.letters.clone()).filter(|l| !l.is_empty()), Cell::Text),
            Cell::known(ours, |score| Cell::Sample(score.items, score.replication)),
            Cell::Text(verdict),
        ];
        Row { cells, emphasis: ours.map_or(Emphasis::None, |score| score.emphasis) }
    }

    /// Why cells are not comparable, each once.
    fn reasons(&self) -> IndexSet<String> {
        let lists = self.cells.iter().filter_map(|cell| match &cell.verdict {
            Verdict::NotComparable(Reason::Departs(list)) => Some(list),
            _ => None,
        });
        lists.flatten().cloned().collect()
    }

    fn notes(&self, reasons: &IndexSet<String>) -> Vec<String> {
        let mut notes = vec![counts(self.pack)];
        notes.extend(legend(self.pack));
        let found: IndexSet<&str> = self
            .pack
            .rows
            .values()
            .flat_map(|row| row.cells.values().map(move |cell| self.pack.found(row, cell)))
            .filter(|found| !found.is_empty())
            .collect();
        notes.extend(found.into_iter().map(|found| format!("Found: {found}.")));
        if self.cells.iter().filter_map(|cell| cell.ours.as_ref()).any(|score| !score.letters.is_empty()) {
            notes.push(format!(
                "Ours that share a letter in a column are not told apart at the {} level, after Holm's correction over all \
                 its pairs; the best group stands out.",
                self.alpha
            ));
        }
        if self.scale == Scale::Mini {
            notes.push(
                "Ours is of the built-in model on generated tasks: its scores are not comparable with the paper's, \
                 only the order of rows can be looked at."
                    .to_owned(),
            );
            notes.extend(self.pack.mini.stand_in.as_ref().map(|why| format!("No order is checked: {why}.")));
        } else if self.cells.iter().any(|cell| matches!(cell.verdict, Verdict::Found(..))) {
            notes.push(rule(self.alpha));
        }
        if self
            .cells
            .iter()
            .filter_map(|cell| cell.ours.as_ref())
            .any(|s| s.replication == Replication::OneSeed)
        {
            notes.push(
                "† one seed: interval and verdict cover the choice of items only; another seed may change them."
                    .to_owned(),
            );
        }
        if self.scale == Scale::Paper {
            notes.extend(self.pack.deviation_notes());
        }
        notes.extend(reasons.iter().enumerate().map(|(index, reason)| format!("({}) {reason}.", index + 1)));
        notes.extend(self.pack.no_cells.as_ref().map(|why| format!("The pack has no numbers: {why}.")));
        notes.extend(self.pack.notes.iter().cloned());
        notes
    }
}

pub(super) fn title(pack: &Pack) -> String {
    let paper = &pack.paper;
    format!("{}: {} (arXiv {}), {}: {}", pack.name, paper.title, paper.arxiv, paper.item, paper.about)
}

fn counts(pack: &Pack) -> String {
    let parts: Vec<String> = [Grade::Verified, Grade::Figure, Grade::Unverified]
        .into_iter()
        .filter(|grade| pack.count(*grade) > 0)
        .map(|grade| format!("{} {}", pack.count(grade), grade.label()))
        .collect();
    let parts = if parts.is_empty() { "none".to_owned() } else { parts.join(", ") };
    format!("Numbers of the paper: {parts}.")
}

fn origin_mark(origin: Origin) -> &'static str {
    match origin {
        Origin::Paper => "",
        Origin::Cited => " (cited)",
        Origin::Reproduction => " (reproduction)",
    }
}

fn legend(pack: &Pack) -> Option<String> {
    let marks = [
        (Grade::Figure, "~ read off a figure"),
        (Grade::Unverified, "? unverified: it confirms and contradicts nothing"),
    ];
    let mut parts: Vec<&str> =
        marks.into_iter().filter(|(grade, _)| pack.count(*grade) > 0).map(|(_, text)| text).collect();
    let origins: BTreeSet<&str> = pack.rows.values().map(|row| origin_mark(row.origin)).collect();
    if origins.contains(origin_mark(Origin::Cited)) {
        parts.push("(cited) the table quotes it from elsewhere");
    }
    if origins.contains(origin_mark(Origin::Reproduction)) {
        parts.push("(reproduction) measured by others, not in the table");
    }
    (!parts.is_empty()).then(|| format!("Marks: {}.", parts.join("; ")))
}

fn rule(alpha: f64) -> String {
    format!(
        "Verdicts: agrees, if the paper's number lies in our interval of {} % and that is at most {} points wide; off within \
         noise, if the interval of the difference holds 0 (Newcombe 1998; Zou and Donner 2008: squared distances to the ends \
         add); differs otherwise. The paper's seeds are unknown, so a difference may be theirs.",
        (1e4 * (1.0 - alpha)).round() / 100.0,
        100.0 * AGREEMENT_WIDTH,
    )
}
