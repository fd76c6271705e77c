//! The packs that are compiled in.

use include_dir::{Dir, include_dir};

use crate::{Error, Pack, Result};

static TABLES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../configs/tables");
static METHODS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../configs/methods");

/// A pack that comes with the program.
///
/// # Errors
/// [`Error::Unknown`] with the nearest name when there is none of this name.
pub fn provided(name: &str) -> Result<Pack> {
    let file = TABLES.get_file(format!("{name}.toml")).and_then(|file| file.contents_utf8());
    let text = file.ok_or_else(|| Error::Unknown { name: name.to_owned(), known: provided_names() })?;
    Pack::parse(text, &format!("configs/tables/{name}.toml"))
}

/// Their names, in order of the alphabet.
pub fn provided_names() -> Vec<String> {
    names(&TABLES)
}

/// The methods that have a file in `configs/methods`.
pub(crate) fn methods() -> Vec<String> {
    names(&METHODS)
}

fn names(folder: &Dir<'_>) -> Vec<String> {
    let toml = |file: &&include_dir::File<'_>| file.path().extension().is_some_and(|end| end == "toml");
    let stem = |file: &include_dir::File<'_>| Some(file.path().file_stem()?.to_str()?.to_owned());
    let mut names: Vec<String> = folder.files().filter(toml).filter_map(stem).collect();
    names.sort();
    names
}
