//! Runs from wherever a user points.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::hf;
use crate::run::Run;
use crate::store::{self, Store};

/// Reads every run below `path`: a record, a folder that holds records anywhere below it, a result of PEFT's
/// `method_comparison`, or a folder of such results.
///
/// # Errors
/// [`Error::NoRunsIn`] for a path without any; those of [`Store::load_all`], [`hf::read`] and [`hf::import`], naming the
/// file.
pub fn collect(path: &Path) -> Result<Vec<Run>> {
    let runs = if path.is_dir() {
        let runs = Store::new(path).load_all()?;
        if runs.is_empty() { results_in(path)? } else { runs }
    } else {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        if is_result(&text) { vec![import(path)?] } else { vec![store::load(path)?] }
    };
    if runs.is_empty() {
        return Err(Error::NoRunsIn { path: path.to_owned() });
    }
    Ok(runs)
}

fn results_in(folder: &Path) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        paths.push(entry.map_err(Error::io("list", folder))?.path());
    }
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        if is_result(&text) {
            runs.push(import(path)?);
        }
    }
    Ok(runs)
}

fn import(path: &Path) -> Result<Run> {
    let file = hf::read(path)?;
    hf::import(&file, &hf::Rules::fitting(&file), &path.display().to_string())
}

/// Python may have written `NaN`, which is no JSON.
fn is_result(text: &str) -> bool {
    serde_json::from_str::<Value>(&hf::without_nan(text)).is_ok_and(|value| value.get("run_info").is_some())
}
