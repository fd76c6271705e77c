//! Arrows of ARCHITECTURE.md point down only, and only `methods` names a method.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The floor of a crate; a crate not named here is a method.
fn floor(name: &str) -> u32 {
    match name {
        "autograd" | "hub" | "sandbox" => 0,
        "peft-core" => 1,
        "models" | "peft-testkit" => 2,
        "methods" | "merging" | "tasks" | "compare" => 3,
        "tables" => 4,
        "harness" => 5,
        "benchmarks" => 6,
        _ => METHOD,
    }
}

const METHOD: u32 = 2;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every crate with the crates of the workspace it is built from (not those of its tests).
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(workspace().join("crates")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.push(workspace().join("benchmarks"));
    let manifests: Vec<toml::Table> = folders
        .iter()
        .map(|folder| fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap())
        .collect();
    let name = |manifest: &toml::Table| manifest["package"]["name"].as_str().unwrap().to_owned();
    let all: BTreeSet<String> = manifests.iter().map(name).collect();
    let own = |manifest: &toml::Table| {
        let listed =
            manifest.get("dependencies").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        listed.keys().filter(|dependency| all.contains(*dependency)).cloned().collect()
    };
    manifests.iter().map(|manifest| (name(manifest), own(manifest))).collect()
}

fn is_method(name: &str) -> bool {
    floor(name) == METHOD && !["models", "peft-testkit"].contains(&name)
}

#[test]
fn arrows_point_down() {
    let all = dependencies();
    assert!(all.len() > 8, "the workspace was found: {all:?}");
    for (name, dependencies) in &all {
        for dependency in dependencies {
            let allowed = floor(dependency) < floor(name)
                // A method may build on another: DVoRA is DoRA over VeRA.
                || (is_method(name) && is_method(dependency));
            assert!(allowed, "{name} must not use {dependency}");
            let names_methods = ["methods"].contains(&name.as_str()) || is_method(name);
            assert!(names_methods || !is_method(dependency), "{name} names the method crate {dependency}");
        }
    }
    for without in ["tasks", "compare"] {
        let manifest =
            fs::read_to_string(workspace().join("crates").join(without).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let listed = manifest["dependencies"].as_table().unwrap();
        assert!(!listed.contains_key("tch"), "{without} must not know tensors");
    }
}

/// Claims are about methods; nothing else in the harness is.
#[test]
fn the_harness_names_no_method() {
    let mut files = vec![workspace().join("crates/harness/src")];
    let mut found = Vec::new();
    while let Some(path) = files.pop() {
        if path.ends_with("src/claims") {
            continue;
        }
        if path.is_dir() {
            files.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().take_while(|line| !line.contains("#[cfg(test)]")).enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for info in methods::METHODS.iter().filter(|info| info.name != "full") {
                if code.contains(&format!("\"{}\"", info.name)) {
                    found.push(format!("{}:{}: {line}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
