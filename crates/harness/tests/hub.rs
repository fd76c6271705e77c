//! `hf:` models, from a hub of this test's own that serves the built-in model.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use common::text;
use tiny_http::{Header, Request, Response, Server};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const WEIGHTS: &str = "model.safetensors";

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/models/mini")
}

/// What was asked for: path, range, authorization.
type Log = Arc<Mutex<Vec<(String, String, String)>>>;

/// Answers as huggingface.co does for the repository `tester/mini`.
struct Hub {
    server: Arc<Server>,
    log: Log,
}

impl Hub {
    fn start() -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let log = Log::default();
        let (own, seen) = (server.clone(), log.clone());
        std::thread::spawn(move || {
            for request in own.incoming_requests() {
                let header = |name: &'static str| {
                    let found = request.headers().iter().find(|header| header.field.equiv(name));
                    found.map(|header| header.value.to_string()).unwrap_or_default()
                };
                seen.lock().unwrap().push((
                    request.url().to_owned(),
                    header("Range"),
                    header("Authorization"),
                ));
                answer(request);
            }
        });
        Self { server, log }
    }

    fn address(&self) -> String {
        format!("http://{}", self.server.server_addr())
    }

    fn seen(&self) -> Vec<(String, String, String)> {
        self.log.lock().unwrap().clone()
    }
}

fn answer(request: Request) {
    let url = request.url().to_owned();
    let header = |name: &str, value: &str| Header::from_bytes(name, value).unwrap();
    let outcome = if url.starts_with("/api/models/tester/mini") {
        let names: Vec<String> = fs::read_dir(model())
            .unwrap()
            .map(|entry| format!("{{\"rfilename\":{:?}}}", entry.unwrap().file_name().to_str().unwrap()))
            .collect();
        request.respond(Response::from_string(format!(
            "{{\"sha\":\"{COMMIT}\",\"siblings\":[{}]}}",
            names.join(",")
        )))
    } else if let Some(file) = url.strip_prefix("/tester/mini/resolve/main/") {
        let bytes = fs::read(model().join(file)).unwrap();
        let range = request.headers().iter().find(|header| header.field.equiv("Range")).unwrap();
        let (first, last) = range.value.as_str().strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let first: usize = first.parse().unwrap();
        let end = last.parse().map_or(bytes.len(), |last: usize| last + 1);
        let response = Response::from_data(&bytes[first..end])
            .with_status_code(206)
            .with_header(header("x-repo-commit", COMMIT))
            .with_header(header("etag", &format!("\"etag-of-{file}\"")))
            .with_header(header("content-range", &format!("bytes {first}-{}/{}", end - 1, bytes.len())));
        request.respond(response)
    } else {
        request.respond(Response::from_string("no").with_status_code(404))
    };
    outcome.unwrap();
}

/// `harness generate` with a cache and a hub of its own.
fn generate(model: &str, home: &Path, environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["generate", "one plus one", "--max-new-tokens", "3", "--model", model])
        .env("HF_HOME", home)
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_HUB_OFFLINE")
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn a_model_is_fetched_once_and_then_found_offline() {
    let (hub, home) = (Hub::start(), tempfile::tempdir().unwrap());
    let address = hub.address();
    let fetched =
        generate("hf:tester/mini", home.path(), &[("HF_ENDPOINT", &address), ("HF_TOKEN", "secret")]);
    assert!(fetched.status.success(), "{}", text(&fetched));
    let local = generate(model().to_str().unwrap(), home.path(), &[]);
    assert_eq!(fetched.stdout, local.stdout, "the same model");
    let seen = hub.seen();
    assert!(seen.iter().any(|(path, ..)| path.ends_with(WEIGHTS)), "{seen:?}");
    assert!(seen.iter().all(|(.., token)| token == "Bearer secret"), "{seen:?}");

    let again = generate("hf:tester/mini", home.path(), &[("HF_ENDPOINT", &address)]);
    assert!(again.status.success(), "{}", text(&again));
    let asked: Vec<_> = hub.seen().split_off(seen.len());
    assert!(asked.iter().all(|(path, ..)| path.starts_with("/api/")), "nothing is fetched twice: {asked:?}");

    let nowhere = [("HF_ENDPOINT", "http://127.0.0.1:9"), ("HF_HUB_OFFLINE", "1")];
    let offline = generate("hf:tester/mini", home.path(), &nowhere);
    assert_eq!(offline.stdout, local.stdout, "{}", text(&offline));
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let (hub, home) = (Hub::start(), tempfile::tempdir().unwrap());
    let bytes = fs::read(model().join(WEIGHTS)).unwrap();
    let half = bytes.len() / 2;
    let blobs = home.path().join("hub/models--tester--mini/blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(format!("etag-of-{WEIGHTS}")).with_extension("part"), &bytes[..half]).unwrap();
    let output = generate("hf:tester/mini", home.path(), &[("HF_ENDPOINT", &hub.address())]);
    assert!(output.status.success(), "{}", text(&output));
    let ranges: Vec<_> =
        hub.seen().into_iter().filter(|(path, ..)| path.ends_with(WEIGHTS)).map(|(_, r, _)| r).collect();
    assert_eq!(ranges, ["bytes=0-0".to_owned(), format!("bytes={half}-")]);
}

#[test]
fn what_cannot_be_fetched_is_named_with_what_to_do() {
    let (hub, home) = (Hub::start(), tempfile::tempdir().unwrap());
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
