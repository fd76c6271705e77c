//! A gate as a table.

use super::check::{Check, Finding, Gate, Verdict};
use crate::entry::Replication;
use crate::table::{Cell, Column, Emphasis, ONE_SEED, Row, Section, Table};

impl Gate {
    /// One row per check, a section per task.
    pub fn table(&self) -> Table {
        let columns = vec![
            Column::left("method", &["method"]),
            Column::left("what", &["what"]),
            Column::right("baseline", &["baseline"]),
            Column::right("interval", &["ci_low", "ci_high"]).expendable(2),
            Column::right("new", &["new"]),
            Column::right("change", &["change"]),
            Column::right("p (Holm)", &["p_value_holm"]).expendable(1),
            Column::left("verdict", &["verdict"]),
        ];
        let sections = self
            .checks
            .chunk_by(|a, b| a.task == b.task)
            .map(|checks| Section {
                labels: vec![checks[0].task.clone()],
                rows: checks.iter().map(row).collect(),
            })
            .collect();
        let confidence = (1e4 * self.bounds.settings.confidence).round() / 100.0;
        let mut notes = vec![format!(
            "A score fails beyond the worse end of the baseline's {confidence} % interval, or if it is worse on the \
                 same items at the {} level (Holm's correction over all scores).",
            self.bounds.settings.alpha()
        )];
        notes.extend(self.bounds.slowdown.map(|slowdown| {
            format!(
                "Speed fails where a step takes more than {slowdown:.2} times as long; its change is the ratio of the speeds."
            )
        }));
        let one_seed = |check: &Check| matches!(&check.finding, Finding::Score(s) if s.replication == Replication::OneSeed);
        if self.checks.iter().any(one_seed) {
            notes.push(format!("{ONE_SEED} one seed: another seed may change the score."));
        }
        Table { title: "Gate".into(), labels: vec!["task"], columns, sections, notes }
    }
}

fn row(check: &Check) -> Row {
    let verdict = match &check.verdict {
        Verdict::Passes => "passes".to_owned(),
        Verdict::Fails(reason) => format!("FAILS: {reason}"),
        Verdict::Open(reason) => format!("open: {reason}"),
    };
    let found = match &check.finding {
        Finding::Score(score) => {
            let scale = score.before.scale;
            let cell = |value| Cell::Score(value, scale, score.replication);
            [
                Cell::Text(score.before.name.clone()),
                cell(score.before.value),
                Cell::known(score.interval, |i| Cell::Interval(i.low, i.high, scale)),
                cell(score.after.value),
                cell(score.after.value - score.before.value),
                Cell::known(score.adjusted_p, Cell::PValue),
            ]
        }
        Finding::Speed { before, after } => [
            Cell::Text("steps per second".into()),
            Cell::Ratio(*before),
            Cell::Unknown,
            Cell::Ratio(*after),
            Cell::Ratio(after / before),
            Cell::Unknown,
        ],
        Finding::Quantity(change) => [
            Cell::Text(change.quantity.label().into()),
            change.before.clone(),
            Cell::Unknown,
            change.after.clone(),
            Cell::Text(change.text.clone()),
            Cell::Unknown,
        ],
        Finding::Nothing => [
            Cell::Text("presence".into()),
            Cell::Unknown,
            Cell::Unknown,
            Cell::Unknown,
            Cell::Unknown,
            Cell::Unknown,
        ],
    };
    let mut cells = vec![Cell::Text(check.method.clone())];
    cells.extend(found);
    cells.push(Cell::Text(verdict));
    Row { cells, emphasis: Emphasis::None }
}
