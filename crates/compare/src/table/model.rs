//! What a table holds, before anybody decides how it looks.

use crate::entry::Replication;
use crate::metric::Scale;

/// A table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Title.
    pub title: String,
    /// What names a section (task, metric): headings within the table, or columns of their own.
    pub labels: Vec<&'static str>,
    /// Columns.
    pub columns: Vec<Column>,
    /// Groups of rows, set off from each other.
    pub sections: Vec<Section>,
    /// Remarks below the table.
    pub notes: Vec<String>,
}

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Heading for people.
    pub header: &'static str,
    /// Headings for programs, one for each field of a cell.
    pub keys: &'static [&'static str],
    /// Side on which its cells stand.
    pub align: Align,
    /// Whether a narrow terminal may do without it; the highest goes first.
    pub expendable: Option<u8>,
}

/// Side on which cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A group of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// Its name, one part for each of the table's labels.
    pub labels: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// One cell for each column.
    pub cells: Vec<Cell>,
    /// Whether its score stands out.
    pub emphasis: Emphasis,
}

/// Whether a row's score stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emphasis {
    /// It does not.
    None,
    /// It is in the best group.
    Best,
}

/// A cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Not known.
    Unknown,
    /// Words.
    Text(String),
    /// A number of which the size matters.
    Quantity(u64),
    /// Percent.
    Percent(f64),
    /// Seconds.
    Seconds(f64),
    /// Bytes.
    Bytes(u64),
    /// A p-value.
    PValue(f64),
    /// A ratio or an effect size.
    Ratio(f64),
    /// A score or a difference of scores; a single seed is marked.
    Score(f64, Scale, Replication),
    /// Ends of an interval of scores.
    Interval(f64, f64, Scale),
    /// Items and seeds behind a score.
    Sample(Option<u64>, Replication),
}

/// The mark of results of one seed.
pub(crate) const ONE_SEED: &str = "†";

impl Column {
    /// A column of words.
    pub fn left(header: &'static str, keys: &'static [&'static str]) -> Self {
        Self { header, keys, align: Align::Left, expendable: None }
    }

    /// A column of numbers.
    pub fn right(header: &'static str, keys: &'static [&'static str]) -> Self {
        Self { align: Align::Right, ..Self::left(header, keys) }
    }

    /// The same column, which a narrow terminal may do without.
    #[must_use]
    pub fn expendable(self, order: u8) -> Self {
        Self { expendable: Some(order), ..self }
    }
}

impl Cell {
    /// A cell for a value that may be unknown.
    pub fn known<T>(value: Option<T>, cell: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Self::Unknown, cell)
    }

    /// Whether it is a score of one seed.
    pub fn is_one_seed(&self) -> bool {
        matches!(self, Self::Score(_, _, Replication::OneSeed))
    }
}
