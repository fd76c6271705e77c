//! The models that are compiled in: the folders of `configs/models`.

use include_dir::{Dir, include_dir};
use models::Builtin;

static MODELS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../configs/models");

/// All of them.
pub fn models() -> Vec<Builtin> {
    let name = |path: &'static std::path::Path| path.file_name()?.to_str();
    let files = |folder: &'static Dir<'_>| {
        folder.files().filter_map(|file| Some((name(file.path())?, file.contents()))).collect()
    };
    MODELS
        .dirs()
        .filter_map(|folder| Some(Builtin { name: name(folder.path())?, files: files(folder) }))
        .collect()
}
