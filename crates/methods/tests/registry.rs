//! The registry itself.

use std::collections::BTreeSet;
use std::path::Path;

use methods::{METHODS, find, select};

#[test]
fn names_are_unique_and_kebab_case() {
    let names: BTreeSet<&str> = METHODS.iter().map(|info| info.name).collect();
    assert_eq!(names.len(), METHODS.len());
    for info in METHODS {
        assert!(
            info.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
            "{}",
            info.name
        );
        let expected = if info.variant.is_empty() {
            info.name.to_owned()
        } else {
            format!("{}-{}", info.family, info.variant)
        };
        assert_eq!(info.name, expected, "a variant's name is its family's and its own");
    }
}

#[test]
fn every_entry_has_a_crate_a_paper_and_defaults_that_build() {
    for info in METHODS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(info.folder);
        assert!(folder.join("Cargo.toml").exists(), "{}: no crate `{}`", info.name, info.folder);
        let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
        assert!(
            readme.contains(info.paper.arxiv),
            "{}: its README does not cite {}",
            info.name,
            info.paper.arxiv
        );
        (info.build)(toml::Table::new()).unwrap_or_else(|e| panic!("{}: {e}", info.name));
        let resolved = (info.resolve)(toml::Table::new()).unwrap();
        (info.build)(resolved).unwrap_or_else(|e| panic!("{}: resolved defaults: {e}", info.name));
    }
}

#[test]
fn an_unknown_setting_is_named_with_its_neighbours() {
    for info in METHODS {
        let table = toml::Table::from_iter([("rnak".to_owned(), toml::Value::Integer(4))]);
        let error = (info.build)(table).unwrap_err();
        assert!(error.to_string().contains("rnak") && error.to_string().contains(info.name), "{error}");
        if (info.resolve)(toml::Table::new()).unwrap().contains_key("rank") {
            assert!(error.hint().unwrap().contains("rank"), "{:?}", error.hint());
        }
    }
}

#[test]
fn words_select_methods() {
    assert_eq!(find("lora").unwrap().name, "lora");
    let lori: Vec<&str> = select("lori").unwrap().iter().map(|info| info.name).collect();
    assert_eq!(lori, ["lori-d", "lori-s"]);
    assert_eq!(select("every").unwrap().len(), METHODS.len());
    let all: Vec<&str> = select("all").unwrap().iter().map(|info| info.name).collect();
    assert!(all.contains(&"olora") && !all.contains(&"lora-plus"), "{all:?}");
    assert_eq!(select("lora").unwrap().len(), 1, "an exact name is not a family");
    let error = select("lroi").unwrap_err();
    assert!(error.hint().unwrap().contains("`lori`"), "{:?}", error.hint());
}
