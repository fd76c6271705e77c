#![allow(clippy::print_stderr)]
use std::path::PathBuf;

/// A path below `shared/` beside the workspace, where reference material may lie; says so where it does not, so that the
/// caller can pass.
pub fn shared(path: &str) -> Option<PathBuf> {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let found = ["../shared", "../../shared"]
        .iter()
        .map(|up| workspace.join(up).join(path))
        .find(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: ../shared/{path} is not there");
    }
    found
}
