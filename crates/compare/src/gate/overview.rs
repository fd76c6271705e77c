//! A check in one row for each cell.

use super::check::{Check, Finding, Gate, Verdict};
use super::quantity::Quantity;
use crate::table::{Cell, Column, Emphasis, Row, Section, Table};

impl Gate {
    /// One row for each method, a section for each task; what failed is marked.
    pub fn overview(&self) -> Table {
        let mut columns = vec![Column::left("method", &["method"]), Column::right("score", &["score"])];
        columns.extend(Quantity::ALL.map(|quantity| match quantity {
            // The others say when something is wrong with these.
            Quantity::Trainable | Quantity::AdapterBytes | Quantity::Repetition => {
                Column::right(quantity.label(), &["change"]).expendable(1)
            }
            _ => Column::right(quantity.label(), &["change"]),
        }));
        let sections = self
            .checks
            .chunk_by(|a, b| a.task == b.task)
            .map(|checks| Section {
                labels: vec![checks[0].task.clone()],
                rows: checks.chunk_by(|a, b| a.method == b.method).map(row).collect(),
            })
            .collect();
        let notes = vec![
            "Each column is the change against the baseline (= is none, 1e-6 a relative difference), score and × floor the new \
             value: how long a training step takes over the frozen model's, with its 95 % interval."
                .to_owned(),
        ];
        Table { title: "Check".into(), labels: vec!["task"], columns, sections, notes }
    }
}

fn row(checks: &[Check]) -> Row {
    let text = |check: Option<&Check>, text: &dyn Fn(&Check) -> String| {
        Cell::known(check, |check| {
            Cell::Text(match check.verdict {
                Verdict::Passes => text(check),
                Verdict::Fails(_) => format!("FAIL {}", text(check)),
                Verdict::Open(_) => format!("? {}", text(check)),
            })
        })
    };
    // The task's first metric.
    let score = checks.iter().find(|check| matches!(check.finding, Finding::Score(_)));
    let of_score = |check: &Check| match &check.finding {
        Finding::Score(score) => {
            let change = 100.0 * (score.after.value - score.before.value);
            let change = if change == 0.0 { "=".to_owned() } else { format!("{change:+.1}") };
            format!("{:.1} ({change})", 100.0 * score.after.value)
        }
        _ => String::new(),
    };
    let mut cells = vec![Cell::Text(checks[0].method.clone()), text(score, &of_score)];
    for quantity in Quantity::ALL {
        let of = |check: &&Check| matches!(&check.finding, Finding::Quantity(change) if change.quantity == quantity);
        let change = |check: &Check| match &check.finding {
            Finding::Quantity(change) => change.text.clone(),
            _ => String::new(),
        };
        cells.push(text(checks.iter().find(of), &change));
    }
    Row { cells, emphasis: Emphasis::None }
}
