//! The tables of the README are those of the records.

use std::fs;
use std::path::{Path, PathBuf};

use compare::embed::refresh;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_readme_shows_what_was_measured() {
    let text = fs::read_to_string(workspace().join("README.md")).unwrap();
    let fresh = refresh(&text, &workspace()).unwrap();
    assert!(text.contains("<!-- results:begin "), "the README has a table of records");
    assert!(
        fresh == text,
        "README.md and its records differ; `cargo run -p compare --example readme -- README.md` mends that"
    );
}

#[test]
fn another_number_is_seen() {
    let text = fs::read_to_string(workspace().join("README.md")).unwrap();
    let begin = text.find("<!-- results:begin ").unwrap();
    let at = begin + text[begin..].find("lori-d").unwrap();
    let digit = at + text[at..].find(|c: char| c.is_ascii_digit()).unwrap();
    let old = text[digit..].chars().next().unwrap();
    let new = if old == '9' { '8' } else { '9' };
    let forged = format!("{}{new}{}", &text[..digit], &text[digit + 1..]);
    assert_eq!(refresh(&forged, &workspace()).unwrap(), refresh(&text, &workspace()).unwrap());
    assert_ne!(refresh(&forged, &workspace()).unwrap(), forged);
}

#[test]
fn a_block_says_which_columns_and_tasks() {
    let block =
        |said: &str| format!("before\n<!-- results:begin {said} -->\nSTALE\n<!-- results:end -->\nafter\n");
    let made = |said: &str| refresh(&block(said), &workspace());
    let records = "records=\"results/mini-lori\"";
    let text = made(&format!("{records} columns=\"method, score\" tasks=\"math\"")).unwrap();
    assert!(
        text.starts_with("before\n<!-- results:begin ") && text.ends_with("<!-- results:end -->\nafter\n")
    );
    assert!(!text.contains("STALE") && !text.contains("nlu") && !text.contains("interval  "), "{text}");
    assert!(text.contains("math · accuracy") && text.contains("lori-d"), "{text}");
    assert_eq!(refresh(&text, &workspace()).unwrap(), text, "once is enough");
    let text = made(&format!("{records} form=\"markdown\"")).unwrap();
    assert!(text.contains("| task | metric | method |"), "{text}");

    for (said, reason) in [
        ("columns=\"score\"", "it names no `records`"),
        (&format!("{records} columns=\"scor\""), "no column is called `scor`; there are method, score, "),
        (&format!("{records} tasks=\"maths\""), "no record is of task `maths`"),
        (&format!("{records} form=\"html\""), "`form` is `html`"),
        (&format!("{records} rows=\"1\""), "`rows` is none of records, columns"),
        (&format!("{records} columns=score"), "expected `KEY=\"…\"` at `columns=score`"),
    ] {
        let error = made(said).unwrap_err().to_string();
        assert!(error.starts_with("line 2: ") && error.contains(reason), "{said}: {error}");
    }
    let open = refresh(&format!("<!-- results:begin {records} -->\n"), &workspace()).unwrap_err().to_string();
    assert_eq!(open, "line 1: no `<!-- results:end -->` comes after it");
    assert!(made("records=\"results/none\"").is_err());
}
