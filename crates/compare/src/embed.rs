//! Tables of records within a text, between two marks.
//!
//! ````text
//! <!-- results:begin records="results/mini-lori" columns="method, score, interval" tasks="math" form="text" -->
//! ```text
//! …
//! ```
//! <!-- results:end -->
//! ````
//!
//! | in the first mark | |
//! |---|---|
//! | `records` | folders of records, separated by commas, below the folder of the text |
//! | `columns` | headings of [`results`]; all when absent |
//! | `tasks` | only these; all when absent |
//! | `form` | `text` (the default) or `markdown` |

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::stats::Settings;
use crate::table::{Table, TerminalStyle, markdown, results, terminal};
use crate::{collect, distinct, entries, latest, rank_all};

const BEGIN: &str = "<!-- results:begin ";
const END: &str = "<!-- results:end -->";
const CLOSE: &str = "-->";
const KEYS: [&str; 4] = ["records", "columns", "tasks", "form"];

/// The text with every block made anew from its records, which are below `root`.
///
/// # Errors
/// [`Error::Block`] for a mark that says something else, or has no end; whatever reading and comparing runs can give.
pub fn refresh(text: &str, root: &Path) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.split_inclusive('\n').enumerate();
    while let Some((number, line)) = lines.next() {
        out.push_str(line);
        let Some(rest) = line.trim_end().strip_prefix(BEGIN) else { continue };
        let wrong = |reason: String| Error::Block { line: number + 1, reason };
        let said =
            rest.strip_suffix(CLOSE).ok_or_else(|| wrong(format!("it does not end with `{CLOSE}`")))?;
        let said = attributes(said).map_err(wrong)?;
        let end = lines.find(|(_, line)| line.trim_end() == END).map(|(_, line)| line);
        let end = end.ok_or_else(|| wrong(format!("no `{END}` comes after it")))?;
        out.push_str(&block(&said, root, &wrong)?);
        out.push_str(end);
    }
    Ok(out)
}

fn block(
    said: &BTreeMap<&str, Vec<String>>,
    root: &Path,
    wrong: &impl Fn(String) -> Error,
) -> Result<String> {
    let folders = said.get("records").ok_or_else(|| wrong("it names no `records`".to_owned()))?;
    let mut runs = Vec::new();
    for folder in folders {
        runs.extend(collect(&root.join(folder))?);
    }
    let mut runs = latest(distinct(runs)).runs;
    if let Some(tasks) = said.get("tasks") {
        if let Some(absent) = tasks.iter().find(|task| runs.iter().all(|run| run.record.task != **task)) {
            return Err(wrong(format!("no record is of task `{absent}`")));
        }
        runs.retain(|run| tasks.contains(&run.record.task));
    }
    let entries = entries(&runs)?;
    let mut table = results(&rank_all(&entries, &Settings::default())?);
    table.title.clear();
    if let Some(columns) = said.get("columns") {
        table = only(table, columns).map_err(wrong)?;
    }
    match said.get("form").map_or("text", |form| form[0].as_str()) {
        "text" => Ok(format!("```text\n{}```\n", terminal(&table, TerminalStyle::PLAIN).trim_start())),
        "markdown" => Ok(format!("\n{}\n", markdown(&table).trim_start())),
        other => Err(wrong(format!("`form` is `{other}`, expected `text` or `markdown`"))),
    }
}

/// `records="a, b" form="text"`.
fn attributes(text: &str) -> Result<BTreeMap<&str, Vec<String>>, String> {
    let mut found = BTreeMap::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let malformed = || format!("expected `KEY=\"…\"` at `{rest}`");
        let (key, after) = rest.split_once("=\"").ok_or_else(malformed)?;
        let (value, after) = after.split_once('"').ok_or_else(malformed)?;
        if !KEYS.contains(&key) {
            return Err(format!("`{key}` is none of {}", KEYS.join(", ")));
        }
        let parts: Vec<String> = value.split(',').map(|part| part.trim().to_owned()).collect();
        if parts.iter().any(String::is_empty) {
            return Err(format!("something is missing in `{key}=\"{value}\"`"));
        }
        found.insert(key, parts);
        rest = after.trim_start();
    }
    Ok(found)
}

/// The table with these columns, in this order.
fn only(mut table: Table, headers: &[String]) -> Result<Table, String> {
    let places = headers.iter().map(|header| {
        let found = table.columns.iter().position(|column| column.header == header);
        found.ok_or_else(|| {
            let known: Vec<_> = table.columns.iter().map(|column| column.header).collect();
            format!("no column is called `{header}`; there are {}", known.join(", "))
        })
    });
    let places: Vec<usize> = places.collect::<Result<_, _>>()?;
    table.columns = places.iter().map(|&place| table.columns[place].clone()).collect();
    for row in table.sections.iter_mut().flat_map(|section| &mut section.rows) {
        row.cells = places.iter().map(|&place| row.cells[place].clone()).collect();
    }
    Ok(table)
}
