//! `report`: records as tables, plots and a page.

use std::path::{Path, PathBuf};

use compare::hf::export_folder;
use compare::report::Report;
use compare::stats::Settings;
use compare::table::{TerminalStyle, terminal};
use compare::{Run, RunRecord};
use serde_json::{Map, Value};

use super::print;
use crate::Result;
use crate::cli::ReportArgs;
use crate::queue::check_writable;

pub(super) fn execute(args: &ReportArgs) -> Result<()> {
    let out = args.out.clone().unwrap_or_else(default_folder);
    let mut runs: Vec<Run> = Vec::new();
    for path in &args.records {
        runs.extend(compare::collect(path)?);
    }
    let selection = compare::latest(compare::distinct(runs));
    let settings = Settings { confidence: args.confidence, ..Settings::default() };
    let report = Report::new(&selection, &settings)?;
    check_writable(&out)?;
    let files = report.write(&out)?;

    let style = TerminalStyle::detect();
    print(terminal(&report.results(), style).trim_end());
    if args.tests {
        print(terminal(&report.tests(), style).trim_end());
    }
    if !selection.left_out.is_empty() {
        print(&format!("{} runs are not shown; the page says why.", selection.left_out.len()));
    }
    if let Some(folder) = &args.peft {
        check_writable(folder)?;
        let adapter = |record: &RunRecord| args.records.iter().find_map(|path| adapter_config(path, record));
        let exported = export_folder(folder, report.entries(), adapter, &settings)?;
        for left_out in &exported.left_out {
            print(&format!("not written for PEFT: {}, {}", left_out.id, left_out.reason));
        }
        print(&format!("{} results for PEFT: {}", exported.written.len(), folder.display()));
    }
    print(&format!("{} files: {}", files.len(), out.join("report.html").display()));
    Ok(())
}

/// `runs/20251121-101500-report`.
fn default_folder() -> PathBuf {
    Path::new("runs").join(jiff::Zoned::now().strftime("%Y%m%d-%H%M%S-report").to_string())
}

/// The adapter that a run saved, where its output folder or the records in it were named.
fn adapter_config(path: &Path, record: &RunRecord) -> Option<Map<String, Value>> {
    let folder = if path.ends_with("records") { path.parent()? } else { path };
    // The configuration has the names that the folders have, whatever the report calls them.
    let name = |part: &str| record.config.get(part)?.get("name")?.as_str();
    let seed = format!("seed-{}", record.seed);
    let adapter = folder.join("adapters").join(name("task")?).join(name("method")?).join(seed);
    let text = std::fs::read_to_string(adapter.join("adapter_config.json")).ok()?;
    serde_json::from_str(&text).ok()
}
