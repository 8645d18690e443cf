//! The wrapper configuration that plugin authors are shown, word for word, run as a client does.

use std::{fs, os::unix::fs::symlink};

use serde_json::{Value, json};

use crate::support::{
    jsonrpc::Client, pki::Pki, process::Countersign, refusal::Refusal, upstream::Upstream,
};

const DOCUMENTED: &str = r#"{
  "secure-api": {
    "command": "${CLAUDE_PLUGIN_ROOT}/servers/mtls-wrapper",
    "args": ["--cert", "${CLIENT_CERT}", "--key", "${CLIENT_KEY}"],
    "env": {
      "API_URL": "https://secure.example.com"
    }
  }
}"#;

/// The documented server with a plugin's folder of its own, and `API_URL` at this upstream. The
/// client fills in what it knows: its plugin's root, and with `fills` the two paths as well.
fn wrapper(pki: &Pki, upstream: &Upstream, fills: bool) -> Countersign {
    let servers = pki.path().join("plugin/servers");
    fs::create_dir_all(&servers).unwrap();
    symlink(env!("CARGO_BIN_EXE_countersign"), servers.join("mtls-wrapper")).unwrap();
    let api = format!("https://localhost:{}", upstream.address().port());
    let mut text = DOCUMENTED
        .replace("https://secure.example.com", &api)
        .replace("${CLAUDE_PLUGIN_ROOT}", pki.path().join("plugin").to_str().unwrap());
    if fills {
        text = text
            .replace("${CLIENT_CERT}", pki.client.cert.to_str().unwrap())
            .replace("${CLIENT_KEY}", pki.client.key.to_str().unwrap());
    }
    let server = serde_json::from_str::<Value>(&text).unwrap()["secure-api"].take();
    let words = server["args"].as_array().unwrap().iter();
    Countersign::program(server["command"].as_str().unwrap())
        .args(words.map(|word| word.as_str().unwrap()))
        .env("API_URL", server["env"]["API_URL"].as_str().unwrap())
        .env("SSL_CERT_FILE", &pki.ca.cert)
}

#[track_caller]
fn carries_a_session(program: &Countersign, upstream: &Upstream) {
    let mut client = Client::start(program);
    client.handshake();
    assert_eq!(client.tool("echo", json!({"a": 1})), json!({"a": 1}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    let seen = upstream.seen();
    assert!(seen.iter().all(|seen| seen.client.as_deref() == Some("CN=client")), "{seen:?}");
    assert!(seen.iter().all(|seen| seen.path == "/"), "{seen:?}");
}

#[test]
fn the_documented_configuration_carries_a_session() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    carries_a_session(&wrapper(&pki, &upstream, true), &upstream);
}

#[test]
fn templates_that_the_client_left_as_they_are_are_filled_in_here() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = wrapper(&pki, &upstream, false)
        .env("CLIENT_CERT", &pki.client.cert)
        .env("CLIENT_KEY", &pki.client.key);
    carries_a_session(&program, &upstream);
}

#[test]
fn templates_that_no_one_can_fill_in_are_named() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let refusal = Refusal::of_initialize(&wrapper(&pki, &upstream, false));
    let words = ["--cert: the variable CLIENT_CERT is not set"];
    refusal.says("configuration", &words, "\"env\" of the client's configuration");
    assert_eq!(upstream.record().connections.len(), 0);
}
