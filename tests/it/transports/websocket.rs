//! WebSocket (RFC 6455): one message a text frame, one handshake with all credentials.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{a_lost_channel_is_replaced, a_session_with_all_that_is_in_it, connected};
use crate::support::{
    duplex::{Duplex, Instead, Said},
    jsonrpc::Client,
    pki::Pki,
    process::Countersign,
    refusal::Refusal,
};

#[test]
fn a_session_is_carried_with_all_that_is_in_it() {
    let pki = Pki::new();
    let server = Duplex::websocket(&pki);
    a_session_with_all_that_is_in_it(&pki, &server);
    let [head] = &server.heads()[..] else { panic!("one request") };
    assert_eq!((&*head.method, &*head.target), ("GET", "/mcp"));
    assert_eq!(head.version, http::Version::HTTP_11, "though HTTP/2 was to be had");
    assert_eq!(head.client.as_deref(), Some("CN=client"));
    assert_eq!(head.headers["sec-websocket-protocol"], "mcp");
    server.wait_for_closes(1);
}

#[test]
fn the_handshake_has_its_credentials_and_nothing_shows_them() {
    let pki = Pki::new();
    let server = Duplex::websocket(&pki);
    let program = server.bridge(&pki).args(["--bearer", "env:TOKEN"]).env("TOKEN", "canary-token");
    let mut client = Client::start(&program.arg("--debug"));
    client.handshake();
    client.tool("echo", json!({}));
    assert_eq!(server.heads()[0].headers["authorization"], "Bearer canary-token");
    assert!(!client.process.transcript().contains("canary"));
    client.finish();
}

#[test]
fn a_socket_that_closes_or_breaks_is_replaced() {
    for how in [Said::End, Said::Break] {
        let pki = Pki::new();
        a_lost_channel_is_replaced(&pki, &Duplex::websocket(&pki), how);
    }
}

#[test]
fn a_modern_client_is_carried_without_a_session() {
    let pki = Pki::new();
    let server = Duplex::websocket(&pki);
    let mut client = Client::start(&server.bridge(&pki));
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    let params = |name: &str| json!({"name": name, "arguments": {"n": 1}, "_meta": meta});
    let id = client.request("tools/call", params("echo"));
    assert_eq!(client.result(&id)["structuredContent"], json!({"n": 1}));
    let held = client.request("tools/call", params("hold"));
    let listens = client.request("subscriptions/listen", json!({"_meta": meta, "method": "hold"}));
    client.result(&listens);
    server.wait_for_call("hold");
    server.lose(Said::Break);
    let error = client.error(&held);
    assert!(error["message"].as_str().unwrap().contains("outcome unknown"), "{error}");
    let id = client.request("tools/call", params("echo"));
    client.result(&id);
    assert_eq!((server.channels(), server.messages("initialize").len()), (2, 0));
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_refused_handshake_is_explained() {
    let pki = Pki::new();
    for (code, words, hint) in [
        (401, "401 Unauthorized", "token"),
        (403, "403 Forbidden", "scopes"),
        (404, "404 Not Found", "path"),
        (405, "where a WebSocket was asked for", "https://"),
        (200, "200 OK", "https://"),
    ] {
        let server = Duplex::websocket(&pki);
        // A refused credential may be renewed and tried once more.
        (0..2).for_each(|_| server.instead(Instead::Refuse(code, "it says canary-token")));
        let program =
            server.bridge(&pki).args(["--bearer", "env:TOKEN"]).env("TOKEN", "canary-token");
        let refusal = Refusal::of_initialize(&program);
        refusal.says("response", &[words, &server.origin()], hint);
        if code != 200 {
            assert!(!refusal.message.contains("canary"), "{refusal:?}");
        }
    }
}

#[test]
fn another_subprotocol_is_refused_and_none_is_fine() {
    let pki = Pki::new();
    let server = Duplex::websocket(&pki);
    server.instead(Instead::Subprotocol(Some("chat")));
    Refusal::of_initialize(&server.bridge(&pki)).says("protocol", &["\"chat\"", "mcp"], "");
    server.instead(Instead::Subprotocol(None));
    let mut client = Client::start(&server.bridge(&pki));
    client.handshake();
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_peer_that_answers_no_ping_is_dead() {
    let pki = Pki::new();
    let server = Duplex::websocket(&pki);
    server.instead(Instead::Deaf);
    let mut client = Client::start(&server.bridge(&pki).args(["--idle-timeout", "3s"]));
    let id = client.initialize("2025-11-25");
    let error = client.error(&id);
    assert!(error["message"].as_str().unwrap().contains("2 pings"), "{error}");
    // The next one answers.
    client.handshake();
    server.wait_for_pings(2);
    assert_eq!(client.tool("echo", json!({})), json!({}));
    assert_eq!(server.channels(), 2);
}

#[test]
fn a_peer_that_closes_and_stays_holds_nothing_up() {
    let pki = Pki::new();
    let server = Duplex::websocket(&pki);
    let mut client = connected(&pki, &server);
    let held = client.call("hold", json!({}));
    server.wait_for_call("hold");
    server.lose(Said::Leave);
    let error = client.error(&held);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("outcome unknown") && message.contains("closed the WebSocket"));
    assert_eq!(client.tool("echo", json!({"n": 1})), json!({"n": 1}));
    assert_eq!(server.channels(), 2);
}

#[test]
fn a_large_message_on_a_slow_way_is_no_silence() {
    let pki = Pki::new();
    let server = Duplex::websocket(&pki);
    let mut client = Client::start(&server.bridge(&pki).args(["--idle-timeout", "2s"]));
    client.handshake();
    let params = json!({"level": "info", "data": "x".repeat(2_000)});
    let message = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params});
    server.say(Said::Slowly(message.to_string(), Duration::from_millis(400)));
    client.notification("notifications/message");
    assert_eq!(client.tool("echo", json!({})), json!({}));
    assert_eq!(server.channels(), 1);
}

#[test]
fn a_message_beyond_the_limit_names_the_flag() {
    let pki = Pki::new();
    let server = Duplex::websocket(&pki);
    let mut client = Client::start(&server.bridge(&pki).args(["--max-message", "64KiB"]));
    client.handshake();
    let id = client.call("big", json!({"bytes": 80_000}));
    let error = client.error(&id);
    assert!(error["message"].as_str().unwrap().contains("--max-message"), "{error}");
    assert_eq!(client.tool("echo", json!({})), json!({}));
}

#[test]
fn what_is_no_message_is_skipped() {
    let pki = Pki::new();
    let server = Duplex::websocket(&pki);
    let mut client = connected(&pki, &server);
    server.say(Said::Text("hello".into()));
    server.say_json(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {}}));
    client.notification("notifications/message");
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn sigterm_answers_what_is_in_flight_and_closes_the_socket() {
    let pki = Pki::new();
    let server = Duplex::websocket(&pki);
    let mut client = connected(&pki, &server);
    let id = client.call("hold", json!({}));
    server.wait_for_call("hold");
    client.process.signal(Signal::TERM);
    assert!(client.error(&id)["message"].as_str().unwrap().contains("shut down"));
    assert!(client.process.wait_exit(Duration::from_secs(10)).success());
    server.wait_for_closes(1);
}

#[test]
fn plain_sockets_are_for_this_machine_and_a_sidecar_has_none() {
    let refused = |program: Countersign, words: &[&str]| {
        let mut process = program.start();
        process.close_stdin();
        assert_eq!(process.wait_exit(Duration::from_secs(10)).code(), Some(78));
        let said = process.stderr();
        words.iter().for_each(|words| assert!(said.contains(words), "{said}"));
    };
    refused(Countersign::to("ws://gw.example/mcp"), &["plain ws:// to gw.example", "wss://"]);
    let serve = Countersign::new().args(["serve", "wss://gw.example/mcp"]);
    refused(serve, &["expected a URL with https://, found wss://gw.example", "WebSockets pass"]);
}
