//! The method and suite files that are compiled in.

use include_dir::{Dir, include_dir};

use crate::{Error, Result};

static METHODS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../configs/methods");
static SCENARIOS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../configs/scenarios");
static SWEEPS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../configs/sweeps");
static SUITES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../configs/suites");

/// The method file `configs/methods/<name>.toml`; empty if there is none, since every setting has a default.
pub fn method_file(name: &str) -> &'static str {
    METHODS.get_file(format!("{name}.toml")).and_then(|file| file.contents_utf8()).unwrap_or_default()
}

/// The suite called `name`.
///
/// # Errors
/// [`Error::Unknown`].
pub fn suite_file(name: &str) -> Result<&'static str> {
    let file = SUITES.get_file(format!("{name}.toml")).and_then(|file| file.contents_utf8());
    file.ok_or_else(|| Error::Unknown { what: "suite", name: name.to_owned(), known: names(&SUITES) })
}

/// The scenario called `name`.
///
/// # Errors
/// [`Error::Unknown`].
pub fn scenario_file(name: &str) -> Result<&'static str> {
    let file = SCENARIOS.get_file(format!("{name}.toml")).and_then(|file| file.contents_utf8());
    file.ok_or_else(|| Error::Unknown { what: "scenario", name: name.to_owned(), known: names(&SCENARIOS) })
}

/// The sweep called `name`.
///
/// # Errors
/// [`Error::Unknown`].
pub fn sweep_file(name: &str) -> Result<&'static str> {
    let file = SWEEPS.get_file(format!("{name}.toml")).and_then(|file| file.contents_utf8());
    file.ok_or_else(|| Error::Unknown { what: "sweep", name: name.to_owned(), known: sweeps() })
}

fn names(folder: &Dir<'_>) -> Vec<String> {
    let mut names: Vec<String> =
        folder.files().filter_map(|f| Some(f.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    names
}

/// Names of the compiled-in scenarios.
pub fn scenarios() -> Vec<String> {
    names(&SCENARIOS)
}

/// Names of the compiled-in sweeps.
pub fn sweeps() -> Vec<String> {
    names(&SWEEPS)
}

/// Names of the compiled-in suites.
pub fn suites() -> Vec<String> {
    names(&SUITES)
}
