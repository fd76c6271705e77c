//! `hf:` models, from a hub of this test's own that serves the built-in model.

mod common;
mod hub_server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::text;
use hub_server::{Content, Hub, etag, harness};

const WEIGHTS: &str = "model.safetensors";

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/models/mini")
}

fn hub() -> Hub {
    let files = fs::read_dir(model()).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())
    });
    Hub::start(Content {
        repo: "tester/mini".to_owned(),
        commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        files: files.collect(),
        refuses: None,
        damages: 0,
    })
}

/// `harness generate` with a cache and a hub of its own.
fn generate(model: &str, home: &Path, environment: &[(&str, &str)]) -> Output {
    harness(&["generate", "one plus one", "--max-new-tokens", "3", "--model", model], home, environment)
}

#[test]
fn a_model_is_fetched_once_and_then_found_offline() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    let address = hub.address();
    let fetched =
        generate("hf:tester/mini", home.path(), &[("HF_ENDPOINT", &address), ("HF_TOKEN", "secret")]);
    assert!(fetched.status.success(), "{}", text(&fetched));
    let local = generate(model().to_str().unwrap(), home.path(), &[]);
    assert_eq!(fetched.stdout, local.stdout, "the same model");
    let asked = hub.asked();
    assert!(asked.iter().any(|(path, ..)| path.ends_with(WEIGHTS)), "{asked:?}");
    assert!(asked.iter().all(|(.., token)| token == "Bearer secret"), "{asked:?}");

    let again = generate("hf:tester/mini", home.path(), &[("HF_ENDPOINT", &address)]);
    assert!(again.status.success(), "{}", text(&again));
    let asked = hub.asked();
    assert!(asked.iter().all(|(path, ..)| path.starts_with("/api/")), "nothing is fetched twice: {asked:?}");

    let nowhere = [("HF_ENDPOINT", "http://127.0.0.1:9"), ("HF_HUB_OFFLINE", "1")];
    let offline = generate("hf:tester/mini", home.path(), &nowhere);
    assert_eq!(offline.stdout, local.stdout, "{}", text(&offline));
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    let bytes = fs::read(model().join(WEIGHTS)).unwrap();
    let half = bytes.len() / 2;
    let blobs = home.path().join("hub/models--tester--mini/blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(etag(&bytes)).with_extension("part"), &bytes[..half]).unwrap();
    let output = generate("hf:tester/mini", home.path(), &[("HF_ENDPOINT", &hub.address())]);
    assert!(output.status.success(), "{}", text(&output));
    let weights = hub.asked().into_iter().filter(|(path, ..)| path.ends_with(WEIGHTS));
    let ranges: Vec<_> = weights.map(|(_, range, _)| range).collect();
    assert_eq!(ranges, ["bytes=0-0".to_owned(), format!("bytes={half}-")]);
}

#[test]
fn what_cannot_be_fetched_is_named_with_what_to_do() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    let address = hub.address();
    let refused = [
        ("hf:tester/other", vec![("HF_ENDPOINT", address.as_str())], "no such model or revision"),
        ("hf:tester/mini", vec![("HF_ENDPOINT", "http://127.0.0.1:9")], "without a network, give a folder"),
        ("hf:tester/mini", vec![("HF_HUB_OFFLINE", "1")], "unset HF_HUB_OFFLINE"),
        ("hf:tester mini", vec![], "expected `hf:OWNER/NAME`"),
    ];
    for (model, environment, hint) in refused {
        let output = generate(model, home.path(), &environment);
        assert!(!output.status.success());
        let said = text(&output);
        assert!(said.contains(model) && said.contains(hint), "{model}: {said}");
    }
}
