//! One session of the real binary with a profile, and every request that the upstream received.

use std::fs;

use http::Method;
use serde_json::json;

use crate::{
    python::Request,
    support::{jsonrpc::Client, pki::Pki, upstream::Upstream},
};

/// The requests of a session under `profile`, the keys of a profile in TOML; POST, GET and DELETE
/// are among them. `files` lie beside the profile; `HTTP` is 1.1 or 2.
pub(crate) fn requests(http: &str, profile: &str, files: &[(&str, &str)]) -> Vec<Request> {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let config = folder.path().join("countersign.toml");
    fs::write(&config, format!("[profile.default]\n{profile}\n")).unwrap();
    let upstream = Upstream::mutual(&pki);
    let program = Client::bridge(&pki, &upstream).arg("--config").arg(&config);
    let mut client = Client::start(&program.args(["--http", http]));
    client.handshake();
    upstream.wait_for_listener();
    client.tool("echo", json!({"text": "with \u{e9}, \"quotes\" and a line\nfeed"}));
    client.tool("echo", json!({"text": "x".repeat(100_000)}));
    client.finish();
    let seen = upstream.wait_for(|seen| seen.iter().any(|seen| seen.method == Method::DELETE));
    let requests: Vec<Request> = seen.iter().map(|seen| Request::of(&upstream, seen)).collect();
    for method in ["POST", "GET", "DELETE"] {
        assert!(requests.iter().any(|request| request.method == method), "no {method}");
    }
    requests
}
