//! The table of what a paper leaves unsaid.

use compare::table::{Cell, Column, Emphasis, Row, Section, Table};

use super::printed::title;
use crate::pack::{Deviation, Pack};

impl Pack {
    /// The settings that the paper does not state, with what we chose and why.
    pub fn unsaid_table(&self) -> Table {
        let text = |text: &String| Cell::Text(text.clone());
        let rows = self.unsaid.iter().map(|unsaid| Row {
            cells: vec![text(&unsaid.setting), text(&unsaid.chosen), text(&unsaid.why)],
            emphasis: Emphasis::None,
        });
        let skipped = self.skipped().into_iter().map(|skipped| {
            let row = skipped.row.map(|row| format!("row {}", self.rows[&row].label));
            let column = skipped.column.map(|column| format!("column {}", self.columns[&column].label));
            format!("Not run: {}: {}.", row.or(column).unwrap_or_default(), skipped.reason)
        });
        Table {
            title: format!("Left unsaid in {}", title(self)),
            labels: Vec::new(),
            columns: vec![
                Column::left("setting", &["setting"]),
                Column::left("chosen", &["chosen"]),
                Column::left("why", &["why"]),
            ],
            sections: vec![Section { labels: Vec::new(), rows: rows.collect() }],
            notes: self.deviation_notes().chain(skipped).collect(),
        }
    }

    /// What we do otherwise than the paper says.
    pub(super) fn deviation_notes(&self) -> impl Iterator<Item = String> {
        self.deviations.iter().map(|deviation| {
            let Deviation { setting, paper, ours, why } = deviation;
            format!("Otherwise than in the paper: {setting}: {ours} instead of {paper}; {why}.")
        })
    }
}
