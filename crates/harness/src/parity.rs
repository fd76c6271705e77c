//! Golden cases: results of reference implementations that the code that trains and merges must reproduce.

mod case;
mod check;
mod forward;
mod generate;
mod merge;
mod optim;
mod quant;
mod schedule;
mod subject;
mod train;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use case::Case;
pub use check::{Check, Checks};

use crate::{Error, Result};

/// What a case came to.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// Name of the case.
    pub case: String,
    /// Its kind.
    pub kind: String,
    /// Its method.
    pub method: String,
    /// Whether every quantity agrees.
    pub pass: bool,
    /// Why it could not be run, if it could not.
    pub error: Option<String>,
    /// The quantities.
    pub checks: Vec<Check>,
}

/// The case folders in `paths`: folders with a `case.json`, or folders of such folders.
///
/// # Errors
/// [`Error::Usage`] if there is none.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let is_case = |path: &Path| path.join("case.json").is_file();
    let mut cases = Vec::new();
    for path in paths {
        if is_case(path) {
            cases.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).map_err(|source| peft_core::Error::io(path, source))?;
        let mut inner: Vec<PathBuf> =
            entries.filter_map(|e| e.ok().map(|e| e.path())).filter(|p| is_case(p)).collect();
        if inner.is_empty() {
            return Err(Error::Usage(format!("`{}` holds no case (no case.json)", path.display())));
        }
        inner.sort();
        cases.append(&mut inner);
    }
    Ok(cases)
}

/// Runs one case. A case that cannot be run fails, with the reason.
pub fn run(folder: &Path, save_adapter: Option<&Path>) -> Verdict {
    let name = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let case = match Case::read(folder) {
        Ok(case) => case,
        Err(error) => return Verdict::failed(name, String::new(), String::new(), &error),
    };
    let mut checks = Checks::new(case.tolerance.clone());
    let result = match case.kind.as_str() {
        "train" => train::run(&case, &mut checks, save_adapter),
        "forward" => forward::run(&case, &mut checks),
        "generate" => generate::run(&case, &mut checks),
        "optim" => optim::run(&case, &mut checks),
        "merge" => merge::run(&case, &mut checks),
        "quant" => quant::run(&case, &mut checks),
        "schedule" => schedule::run(&case, &mut checks),
        kind => Err(Error::Usage(format!("cases of kind `{kind}` cannot be run yet"))),
    };
    match result {
        Ok(()) => {
            let checks = checks.into_checks();
            let pass = !checks.is_empty() && checks.iter().all(|check| check.pass);
            Verdict { case: case.name, kind: case.kind, method: case.method, pass, error: None, checks }
        }
        Err(error) => Verdict {
            checks: checks.into_checks(),
            ..Verdict::failed(case.name, case.kind, case.method, &error)
        },
    }
}

impl Verdict {
    fn failed(case: String, kind: String, method: String, error: &Error) -> Self {
        Self { case, kind, method, pass: false, error: Some(error.to_string()), checks: Vec::new() }
    }
}
