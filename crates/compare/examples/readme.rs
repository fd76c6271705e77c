//! Makes the tables within a text anew from the records that it names (see `compare::embed`):
//! `cargo run -p compare --example readme -- README.md`
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::path::Path;

use compare::embed::refresh;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: readme README.md")?;
    let path = Path::new(&path);
    let text = std::fs::read_to_string(path)?;
    let fresh = refresh(&text, path.parent().unwrap_or(Path::new("")))?;
    if fresh == text {
        println!("{}: as it was", path.display());
    } else {
        compare::write_whole(path, fresh.as_bytes())?;
        println!("{}: made anew", path.display());
    }
    Ok(())
}
