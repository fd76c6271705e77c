//! A hub of the tests' own, which answers as huggingface.co does.

#![allow(dead_code, reason = "every test file uses a part")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use tiny_http::{Header, Request, Response, Server};

/// A request: path, range, authorization.
pub type Asked = (String, String, String);

/// One repository, at one commit.
#[derive(Clone, Debug)]
pub struct Content {
    /// `datasets/tester/capitals`, or `tester/mini` for a model.
    pub repo: String,
    /// What the branch `main` is.
    pub commit: String,
    /// Its files.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The status that every request gets, if not success.
    pub refuses: Option<u16>,
    /// The answers with content that are still to be damaged.
    pub damages: usize,
}

/// The server.
pub struct Hub {
    server: Arc<Server>,
    log: Arc<Mutex<Vec<Asked>>>,
    content: Arc<Mutex<Content>>,
}

impl Hub {
    pub fn start(content: Content) -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let hub = Self { server, log: Arc::default(), content: Arc::new(Mutex::new(content)) };
        let (server, log, content) = (hub.server.clone(), hub.log.clone(), hub.content.clone());
        std::thread::spawn(move || {
            for request in server.incoming_requests() {
                let asked =
                    (request.url().to_owned(), header(&request, "Range"), header(&request, "Authorization"));
                log.lock().unwrap().push(asked);
                answer(request, &mut content.lock().unwrap());
            }
        });
        hub
    }

    pub fn address(&self) -> String {
        format!("http://{}", self.server.server_addr())
    }

    /// Requests since this was last called.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    /// Another state of the repository.
    pub fn change(&self, change: impl FnOnce(&mut Content)) {
        change(&mut self.content.lock().unwrap());
    }
}

fn header(request: &Request, name: &'static str) -> String {
    let found = request.headers().iter().find(|header| header.field.equiv(name));
    found.map(|header| header.value.to_string()).unwrap_or_default()
}

fn answer(request: Request, content: &mut Content) {
    let header_of = |name: &str, value: &str| Header::from_bytes(name, value).unwrap();
    let (url, range) = (request.url().to_owned(), header(&request, "Range"));
    let status = |code: u16| Response::from_string("no").with_status_code(code);
    let api = match content.repo.strip_prefix("datasets/") {
        Some(name) => format!("/api/datasets/{name}/revision/"),
        None => format!("/api/models/{}/revision/", content.repo),
    };
    let revision = |text: &str| text == "main" || text == content.commit;
    if let Some(code) = content.refuses {
        request.respond(status(code)).unwrap();
    } else if url.strip_prefix(&api).is_some_and(revision) {
        let names: Vec<_> = content.files.keys().map(|name| format!("{{\"rfilename\":{name:?}}}")).collect();
        let json = format!("{{\"sha\":\"{}\",\"siblings\":[{}]}}", content.commit, names.join(","));
        request.respond(Response::from_string(json)).unwrap();
    } else if let Some(bytes) = url
        .strip_prefix(&format!("/{}/resolve/", content.repo))
        .and_then(|rest| rest.split_once('/'))
        .filter(|(asked, _)| revision(asked))
        .and_then(|(_, name)| content.files.get(name))
    {
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let first: usize = first.parse().unwrap();
        let end = last.parse().map_or(bytes.len(), |last: usize| last + 1);
        let mut part = bytes[first..end].to_vec();
        if last.is_empty() && content.damages > 0 {
            content.damages -= 1;
            part.fill(b'?');
        }
        let response = Response::from_data(part)
            .with_status_code(206)
            .with_header(header_of("x-repo-commit", &content.commit))
            .with_header(header_of("etag", &format!("\"{}\"", etag(bytes))))
            .with_header(header_of("content-range", &format!("bytes {first}-{}/{}", end - 1, bytes.len())));
        request.respond(response).unwrap();
    } else {
        request.respond(status(404)).unwrap();
    }
}

/// What the hub names a large file by.
pub fn etag(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The binary with a cache of its own.
pub fn harness(args: &[&str], home: &Path, environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(args)
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env("HF_HOME", home)
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_HUB_OFFLINE")
        .env_remove("HF_TOKEN")
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}
