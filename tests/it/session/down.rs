//! An upstream that is not there: each call is told so in time, and works again when it is back,
//! without the client doing anything.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{connected, without_stream};
use crate::support::{jsonrpc::Client, pki::Pki, script::Wire, upstream::Upstream};

#[test]
fn each_call_says_what_failed_until_the_upstream_is_back() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = connected(&pki, &upstream);
    upstream.down();
    for n in 0..3 {
        let id = client.call("count", json!({"n": n}));
        let error = client.error(&id);
        assert_eq!(error["data"]["stage"], "connect", "{error}");
        assert!(error["message"].as_str().unwrap().contains("refuses connections"), "{error}");
        assert!(error["message"].as_str().unwrap().contains("127.0.0.1:"), "{error}");
    }
    upstream.up();
    assert_eq!(client.tool("count", json!({"n": 9}))["times"], 1);
    assert_eq!((upstream.record().ran, upstream.posts("initialize").len()), (vec![json!(9)], 1));
    upstream.wait_for_listener();
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn an_upstream_that_comes_back_without_its_sessions_is_as_good() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = connected(&pki, &upstream);
    upstream.down();
    let id = client.call("count", json!({"n": 1}));
    client.error(&id);
    upstream.forget_sessions();
    upstream.up();
    assert_eq!(client.tool("count", json!({"n": 2}))["times"], 1);
    assert_eq!(upstream.ran(1), 0);
}

#[test]
fn a_client_that_came_too_early_can_initialize_again() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    upstream.down();
    let mut client = Client::start(&Client::bridge(&pki, &upstream));
    let id = client.initialize("2025-11-25");
    assert_eq!(client.error(&id)["data"]["stage"], "connect");
    upstream.up();
    client.handshake();
    assert_eq!(client.tool("count", json!({"n": 1}))["times"], 1);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_peer_that_never_speaks_costs_the_connect_timeout_and_no_more() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    upstream.wire(Wire::Silent);
    let program = Client::bridge(&pki, &upstream).args(["--connect-timeout", "700ms"]);
    let mut client = Client::start(&program);
    let asked = Instant::now();
    let id = client.initialize("2025-11-25");
    let error = client.error(&id);
    assert!(asked.elapsed() >= Duration::from_millis(700));
    assert_eq!(error["data"]["stage"], "connect", "{error}");
    assert!(error["message"].as_str().unwrap().contains("within 700ms"), "{error}");
    assert!(error["data"]["hint"].as_str().unwrap().contains("--connect-timeout"), "{error}");
    client.handshake();
    client.tool("echo", json!({}));
}

#[test]
fn a_connection_that_is_refused_before_anything_was_sent_is_no_unknown_outcome() {
    for http in ["1.1", "2"] {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let mut client = without_stream(&pki, &upstream, http);
        upstream.down();
        upstream.wire(Wire::ResetAccepted);
        upstream.up();
        let id = client.call("count", json!({"n": 1}));
        let error = client.error(&id);
        assert!(["connect", "tls"].contains(&error["data"]["stage"].as_str().unwrap()), "{error}");
        assert!(!error["message"].as_str().unwrap().contains("outcome unknown"), "{error}");
        assert_eq!(client.tool("count", json!({"n": 2}))["times"], 1);
        assert_eq!(upstream.ran(1), 0);
    }
}

#[test]
fn a_connection_that_was_closed_while_idle_is_not_an_error() {
    for http in ["1.1", "2"] {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let mut client = without_stream(&pki, &upstream, http);
        for n in 0..20 {
            upstream.drop_connections();
            assert_eq!(client.tool("count", json!({"n": n}))["times"], 1, "{http}");
        }
        assert_eq!(client.finish(), [] as [Value; 0]);
    }
}
