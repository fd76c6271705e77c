//! The table of orders.

use compare::Replication;
use compare::table::{Cell, Column, Emphasis, Row, Section, Table};

use super::Report;
use super::printed::title;
use crate::cell::Grade;
use crate::order::{Order, OrderVerdict};

impl Report<'_> {
    /// Which order of the paper's holds, does not hold, or cannot be told here; one row for each pair.
    pub fn order_table(&self) -> Table {
        let columns = vec![
            Column::left("ahead in the paper", &["first"]),
            Column::left("of", &["second"]),
            Column::right("by", &["paper_difference"]),
            Column::left("grade", &["grade"]),
            Column::left("told there", &["paper_tells"]).expendable(2),
            Column::right("ours", &["difference"]),
            Column::right("p (Holm)", &["p_value_holm"]).expendable(1),
            Column::left("verdict", &["verdict"]),
        ];
        let mut sections: Vec<Section> = Vec::new();
        for order in &self.orders {
            let model = &self.pack.rows[&order.first].model;
            let column = self.heading(&self.pack.columns[&order.column].label, &order.column);
            let labels = vec![self.pack.models[model].label.clone(), column];
            let row = self.order_row(order);
            match sections.iter_mut().find(|section| section.labels == labels) {
                Some(section) => section.rows.push(row),
                None => sections.push(Section { labels, rows: vec![row] }),
            }
        }
        Table {
            title: format!("Orders of {}", title(self.pack)),
            labels: vec!["model", "column"],
            columns,
            sections,
            notes: self.order_notes(),
        }
    }

    fn order_row(&self, order: &Order) -> Row {
        let column = &self.pack.columns[&order.column];
        let label = |row: &str| Cell::Text(self.pack.rows[row].label.clone());
        let replication = |seeds: usize| match seeds {
            1 => Replication::OneSeed,
            seeds => Replication::Seeds(seeds),
        };
        let cells = vec![
            label(&order.first),
            label(&order.second),
            Cell::known(order.difference, |by| Cell::Text(format!("{by:.*}", column.decimals))),
            Cell::Text(order.grade.mark().to_owned()),
            Cell::Text(order.paper.label().to_owned()),
            Cell::known(order.ours, |ours| Cell::Score(ours.value, ours.scale, replication(ours.seeds))),
            Cell::known(order.ours, |ours| Cell::PValue(ours.adjusted_p)),
            Cell::Text(order.verdict.label(order.grade).to_owned()),
        ];
        Row { cells, emphasis: Emphasis::None }
    }

    fn order_notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (grade, what) in [
            (Grade::Verified, "Of verified numbers"),
            (Grade::Figure, "Of numbers read off a figure (~)"),
            (Grade::Unverified, "Of unverified numbers (?), which confirm nothing"),
        ] {
            let of_grade = || self.orders.iter().filter(|order| order.grade == grade);
            let counts: Vec<String> =
                [OrderVerdict::Holds, OrderVerdict::Reversed, OrderVerdict::CannotTell, OrderVerdict::NotRun]
                    .into_iter()
                    .map(|verdict| (verdict, of_grade().filter(|order| order.verdict == verdict).count()))
                    .filter(|(_, count)| *count > 0)
                    .map(|(verdict, count)| format!("{count} {}", verdict.label(grade)))
                    .collect();
            if !counts.is_empty() {
                notes.push(format!("{what}: {}.", counts.join(", ")));
            }
        }
        if self.orders.is_empty() {
            notes.push("There is no order of the paper that could be looked at here.".to_owned());
        } else {
            notes.push(format!(
                "Ours tells two rows apart where p after Holm's correction over all pairs of the column is at most {}; told \
                 there: whether the paper's own number of items does (Newcombe).",
                self.alpha
            ));
        }
        if self.orders.iter().filter_map(|order| order.ours).any(|ours| ours.seeds == 1) {
            notes.push("† one seed: the test covers the choice of items only.".to_owned());
        }
        notes
    }
}
