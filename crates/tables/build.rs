//! Says that the packs are part of the crate: `include_dir` does not.

#![expect(clippy::print_stdout, reason = "so a build script speaks with cargo")]

fn main() {
    for folder in ["tables", "methods"] {
        println!("cargo::rerun-if-changed=../../configs/{folder}");
    }
}
