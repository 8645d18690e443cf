//! Every request has every credential, once: POST, GET and DELETE alike.

use std::time::Instant;

use http::Method;
use serde_json::{Value, json};

use super::{Program, secret, values};
use crate::support::{jsonrpc::Client, pki::Pki, process::DEADLINE, upstream::Upstream};

/// A session with these flags and a stream; all its requests had this header with this value.
fn all_have(flags: &[&str], header: &str, value: &str) {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = Client::bridge(&pki, &upstream).args(flags);
    let program = program.env("TOKEN", "s3cret").env("TENANT_ID", "acme");
    let mut client = Client::start(&program);
    client.handshake();
    upstream.wait_for_listener();
    client.tool("echo", json!({}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    let seen = upstream.wait_for(|seen| seen.iter().any(|seen| seen.method == Method::DELETE));
    for method in [Method::POST, Method::GET, Method::DELETE] {
        assert!(seen.iter().any(|seen| seen.method == method), "no {method} in {seen:?}");
    }
    for seen in &seen {
        assert_eq!(values(seen, header), [value], "{seen:?}");
    }
}

#[test]
fn a_header_with_a_template_is_filled_in() {
    all_have(&["--header", "X-Tenant: ${TENANT_ID}"], "x-tenant", "acme");
    all_have(&["--header", "Authorization: Bearer ${TOKEN}"], "authorization", "Bearer s3cret");
}

#[test]
fn a_bearer_token_gets_its_scheme() {
    all_have(&["--bearer", "env:TOKEN"], "authorization", "Bearer s3cret");
}

#[test]
fn a_user_and_a_password_are_encoded() {
    all_have(&["--basic", "alice:env:TOKEN"], "authorization", "Basic YWxpY2U6czNjcmV0");
}

#[test]
fn an_api_key_has_the_usual_header_or_its_own() {
    all_have(&["--api-key", "env:TOKEN"], "x-api-key", "s3cret");
    all_have(&["--api-key", "X-Corp-Key=env:TOKEN"], "x-corp-key", "s3cret");
}

#[test]
fn all_kinds_go_together() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let program = Program::new(folder.path(), "echo from-a-program");
    let file = secret(folder.path(), "from-a-file");
    let bridge = Client::bridge(&pki, &upstream)
        .args(["--header", "X-Tenant: acme", "--header", "X-Team: blue"])
        .args(["--bearer", &program.reference()])
        .args(["--api-key", &format!("file:{}", file.display())]);
    let mut client = Client::start(&bridge);
    client.handshake();
    client.tool("echo", json!({}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    for seen in upstream.seen() {
        assert_eq!(values(&seen, "authorization"), ["Bearer from-a-program"]);
        assert_eq!(values(&seen, "x-api-key"), ["from-a-file"]);
        assert_eq!(values(&seen, "x-tenant"), ["acme"]);
        assert_eq!(values(&seen, "x-team"), ["blue"]);
    }
    assert_eq!(program.runs(), 1);
}

#[test]
fn a_program_is_not_run_before_the_client_speaks() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let program = Program::new(folder.path(), "echo token");
    let bridge = Client::bridge(&pki, &upstream).args(["--bearer", &program.reference()]);
    let mut client = Client::start(&bridge);
    // Answered without the upstream: the program was up, and had started nothing.
    client.send("{");
    client.wait("-32700", |message| message["error"]["code"] == -32_700);
    assert_eq!(program.runs(), 0);
    client.handshake();
    assert_eq!(program.runs(), 1);
}

#[test]
fn a_file_that_changes_is_read_again_without_a_refusal() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let file = secret(folder.path(), "first");
    let reference = format!("file:{}", file.display());
    let bridge = Client::bridge(&pki, &upstream).args(["--bearer", &reference]);
    let mut client = Client::start(&bridge);
    client.handshake();
    secret(folder.path(), "second");
    let until = Instant::now() + DEADLINE;
    let sent = loop {
        client.tool("echo", json!({}));
        let calls = upstream.posts("tools/call");
        let values = values(calls.last().unwrap(), "authorization").join(", ");
        if values != "Bearer first" || Instant::now() > until {
            break values;
        }
    };
    assert_eq!(sent, "Bearer second");
}
