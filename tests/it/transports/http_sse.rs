//! HTTP+SSE (2024-11-05 transports): a stream down, POSTs up, after `initialize` was refused by POST.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{a_lost_channel_is_replaced, a_session_with_all_that_is_in_it, connected};
use crate::support::{
    duplex::{Duplex, Instead, Said},
    jsonrpc::Client,
    pki::Pki,
    refusal::Refusal,
};

#[test]
fn a_session_is_carried_with_all_that_is_in_it() {
    let pki = Pki::new();
    let server = Duplex::http_sse(&pki);
    a_session_with_all_that_is_in_it(&pki, &server);
    let heads = server.heads();
    let ways: Vec<_> = heads.iter().map(|it| (&*it.method, &*it.target)).take(3).collect();
    assert_eq!(
        ways,
        [("POST", "/sse"), ("GET", "/sse"), ("POST", "/messages?session=canary-session-0")]
    );
    assert!(heads.iter().all(|head| head.client.as_deref() == Some("CN=client")), "{heads:?}");
    assert_eq!(heads[1].headers["accept"], "text/event-stream");
}

#[test]
fn each_request_has_its_credentials() {
    let pki = Pki::new();
    let server = Duplex::http_sse(&pki);
    let program = server.bridge(&pki).args(["--bearer", "env:TOKEN"]).env("TOKEN", "canary-token");
    let mut client = Client::start(&program.arg("--debug"));
    client.handshake();
    client.tool("echo", json!({}));
    // Nor the session, which hangs on the endpoint.
    server.instead(Instead::RefusePost(403));
    let id = client.call("echo", json!({}));
    let error = client.error(&id);
    assert!(error["message"].as_str().unwrap().contains("Could not find session"), "{error}");
    for head in server.heads() {
        assert_eq!(head.headers["authorization"], "Bearer canary-token", "{head:?}");
    }
    assert!(!client.process.transcript().contains("canary"));
    client.finish();
}

#[test]
fn a_stream_that_ends_or_breaks_is_replaced() {
    for how in [Said::End, Said::Break] {
        let pki = Pki::new();
        a_lost_channel_is_replaced(&pki, &Duplex::http_sse(&pki), how);
    }
}

#[test]
fn a_session_that_the_server_does_not_know_is_replaced_and_the_call_runs_once() {
    let pki = Pki::new();
    let server = Duplex::http_sse(&pki);
    let mut client = connected(&pki, &server);
    server.instead(Instead::RefusePost(404));
    assert_eq!(client.tool("echo", json!({"n": 1})), json!({"n": 1}));
    assert_eq!(server.messages("tools/call").len(), 1, "what was refused was not read");
    assert_eq!(server.messages("initialize").len(), 2);
}

#[test]
fn an_endpoint_elsewhere_gets_no_message_and_no_credentials() {
    let pki = Pki::new();
    let (server, elsewhere) = (Duplex::http_sse(&pki), Duplex::http_sse(&pki));
    server.instead(Instead::Endpoint(format!("{}/messages?session=0", elsewhere.origin())));
    let program = server.bridge(&pki).args(["--bearer", "env:TOKEN"]).env("TOKEN", "canary-token");
    let refusal = Refusal::of_initialize(&program);
    refusal.says("response", &[&server.origin(), &elsewhere.origin(), "another origin"], "");
    assert!(!refusal.message.contains("session="), "{refusal:?}");
    assert!(elsewhere.heads().is_empty());
    assert!(server.heads().iter().all(|head| head.target == "/sse"));
}

#[test]
fn an_endpoint_that_repeats_a_secret_is_not_used() {
    let pki = Pki::new();
    let server = Duplex::http_sse(&pki);
    server.instead(Instead::Endpoint("/messages?token=canary-token".into()));
    let program = server.bridge(&pki).args(["--bearer", "env:TOKEN"]).env("TOKEN", "canary-token");
    let refusal = Refusal::of_initialize(&program);
    refusal.says("response", &["repeats what it was sent"], "");
    assert!(!refusal.message.contains("canary"), "{refusal:?}");
    assert!(server.heads().iter().all(|head| head.target == "/sse"));
}

#[test]
fn a_relative_endpoint_is_resolved_against_the_url() {
    let pki = Pki::new();
    let server = Duplex::http_sse(&pki);
    server.instead(Instead::Endpoint("messages?session=canary-session-0".into()));
    let mut client = connected(&pki, &server);
    assert_eq!(client.tool("echo", json!({})), json!({}));
}

#[test]
fn a_server_with_neither_says_what_was_tried() {
    let pki = Pki::new();
    for (instead, words) in [
        (Instead::Refuse(404, "nothing here"), "nothing here"),
        (Instead::Refuse(403, "not you"), "not you"),
        (Instead::Endpoint("http://[".into()), "no URL"),
    ] {
        let server = Duplex::http_sse(&pki);
        server.instead(instead);
        let refusal = Refusal::of_initialize(&server.bridge(&pki));
        refusal.says("response", &["405 Method Not Allowed", "2024-11-05", words], "/mcp");
    }
}

#[test]
fn a_stream_without_an_endpoint_is_given_up() {
    let pki = Pki::new();
    let server = Duplex::http_sse(&pki);
    server.instead(Instead::NoEndpoint);
    let program = server.bridge(&pki).args(["--idle-timeout", "1s"]);
    Refusal::of_initialize(&program).says("response", &["named no endpoint", "1s"], "");
}

#[test]
fn an_initialize_that_failed_may_be_tried_again_by_both_ways() {
    let pki = Pki::new();
    let server = Duplex::http_sse(&pki);
    server.instead(Instead::Refuse(404, ""));
    let mut client = Client::start(&server.bridge(&pki));
    let id = client.initialize("2025-11-25");
    client.error(&id);
    client.handshake();
    assert_eq!(client.tool("echo", json!({})), json!({}));
    assert_eq!(server.heads().iter().filter(|head| head.target == "/sse").count(), 4);
}

#[test]
fn a_call_of_which_nothing_is_heard_is_cancelled_on_both_sides() {
    let pki = Pki::new();
    let server = Duplex::http_sse(&pki);
    let mut client = Client::start(&server.bridge(&pki).args(["--idle-timeout", "1s"]));
    client.handshake();
    let id = client.call("hold", json!({}));
    let error = client.error(&id);
    assert!(error["message"].as_str().unwrap().contains("sent no byte for 1s"), "{error}");
    let cancel = server.wait_for("cancel", |it| it["method"] == "notifications/cancelled");
    assert_eq!(cancel["params"]["requestId"], id);
    // The stream itself may be silent.
    assert_eq!(client.tool("echo", json!({})), json!({}));
    assert_eq!(server.channels(), 1);
}

#[test]
fn sigterm_answers_what_is_in_flight() {
    let pki = Pki::new();
    let server = Duplex::http_sse(&pki);
    let mut client = connected(&pki, &server);
    let id = client.call("hold", json!({}));
    server.wait_for_call("hold");
    client.process.signal(Signal::TERM);
    assert!(client.error(&id)["message"].as_str().unwrap().contains("shut down"));
    assert!(client.process.wait_exit(Duration::from_secs(10)).success());
}

#[test]
fn a_handshake_that_is_written_ahead_is_carried_in_order() {
    let pki = Pki::new();
    let server = Duplex::http_sse(&pki);
    let mut client = Client::start(&server.bridge(&pki));
    let id = client.initialize("2024-11-05");
    client.notify("notifications/initialized", Value::Null);
    let call = client.call("echo", json!({"n": 1}));
    client.process.close_stdin();
    client.result(&id);
    assert_eq!(client.result(&call)["structuredContent"], json!({"n": 1}));
    assert!(client.process.wait_exit(Duration::from_secs(10)).success());
}
