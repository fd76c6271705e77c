//! Tables as CSV: every number in full, nothing rounded.

use super::model::{Cell, Emphasis, Table};
use crate::entry::Replication;
use crate::error::Result;

/// The table as CSV with a header; what is unknown is empty. Two more columns say whether a row is in the best group
/// and whether it rests on one seed.
///
/// # Errors
/// [`crate::Error::Csv`].
pub fn csv(table: &Table) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let keys = table.columns.iter().flat_map(|column| column.keys).copied();
    writer.write_record(table.labels.iter().copied().chain(keys).chain(["best_group", "one_seed"]))?;
    for section in &table.sections {
        for row in &section.rows {
            let mut fields = section.labels.clone();
            for (cell, column) in row.cells.iter().zip(&table.columns) {
                let mut values = values(cell);
                values.resize(column.keys.len(), String::new());
                fields.append(&mut values);
            }
            fields.push((row.emphasis == Emphasis::Best).to_string());
            fields.push(row.cells.iter().any(Cell::is_one_seed).to_string());
            writer.write_record(fields)?;
        }
    }
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8(bytes).expect("every field is UTF-8"))
}

/// What a column is sorted by; empty for what is not known.
pub(crate) fn sort_key(cell: &Cell) -> String {
    values(cell).into_iter().next().unwrap_or_default()
}

fn values(cell: &Cell) -> Vec<String> {
    match cell {
        Cell::Unknown => Vec::new(),
        Cell::Text(text) => vec![text.clone()],
        Cell::Quantity(number) | Cell::Bytes(number) => vec![number.to_string()],
        Cell::Percent(number)
        | Cell::Seconds(number)
        | Cell::PValue(number)
        | Cell::Ratio(number)
        | Cell::Score(number, ..) => vec![number.to_string()],
        Cell::Interval(low, high, _) => vec![low.to_string(), high.to_string()],
        Cell::Sample(items, replication) => {
            let seeds = match replication {
                Replication::Untrained => String::new(),
                Replication::OneSeed => "1".into(),
                Replication::Seeds(seeds) => seeds.to_string(),
            };
            vec![items.map_or_else(String::new, |n| n.to_string()), seeds]
        }
    }
}
