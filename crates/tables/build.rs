//! Says that the packs are part of the crate: `include_dir` does not.

fn main() {
    for folder in ["tables", "methods"] {
        println!("cargo::rerun-if-changed=../../configs/{folder}");
    }
}
