//! A server that is replaced by one of the other era, as a deployment does: what is known of it turns
//! out wrong and is looked at again. No call is made twice for it.

use serde_json::{Value, json};

use super::{call, initialize, initialized, legacy_client, modern_client, stamped};
use crate::support::{jsonrpc::Client, pki::Pki, upstream::Upstream};

/// Calls `count` with this `n` until it has a result; how many tries that takes, at most three.
#[track_caller]
fn tried(client: &mut Client, n: u64, params: impl Fn(Value) -> Value) -> usize {
    for tries in 1..=3 {
        let asked = params(json!({"name": "count", "arguments": {"n": n}}));
        let id = client.request("tools/call", asked);
        let response = client.response(&id);
        if response["result"]["structuredContent"]["n"] == n {
            return tries;
        }
        assert!(response["error"].is_object(), "{response}");
    }
    panic!("never: {}", client.process.transcript())
}

fn counted(upstream: &Upstream, all: &[u64]) {
    for n in all {
        assert_eq!(upstream.ran(*n), 1, "{n}");
    }
}

#[test]
fn a_legacy_client_whose_server_becomes_modern_initializes_again() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    assert_eq!(tried(&mut client, 1, |params| params), 1);
    upstream.replace();
    let id = client.call("count", json!({"n": 2}));
    assert!(client.response(&id)["error"].is_object());
    client.ask("initialize", initialize());
    client.notify("notifications/initialized", Value::Null);
    assert_eq!(tried(&mut client, 3, |params| params), 1);
    counted(&upstream, &[1, 3]);
    assert_eq!(upstream.ran(2), 0);
}

#[test]
fn a_legacy_client_whose_server_becomes_legacy_initializes_again() {
    let pki = Pki::new();
    let (upstream, mut client) = legacy_client(&pki);
    assert_eq!(tried(&mut client, 1, |params| params), 1);
    upstream.replace();
    let id = client.call("count", json!({"n": 2}));
    assert!(client.response(&id)["error"].is_object());
    initialized(&mut client);
    assert_eq!(tried(&mut client, 3, |params| params), 1);
    counted(&upstream, &[1, 3]);
    assert_eq!(upstream.ran(2), 0);
}

#[test]
fn a_modern_client_does_not_care() {
    let pki = Pki::new();
    let (upstream, mut client) = modern_client(&pki);
    assert_eq!(tried(&mut client, 1, stamped), 1);
    upstream.replace();
    assert!(tried(&mut client, 2, stamped) <= 2);
    assert_eq!(tried(&mut client, 3, stamped), 1);
    upstream.replace();
    assert!(tried(&mut client, 4, stamped) <= 2);
    assert_eq!(tried(&mut client, 5, stamped), 1);
    counted(&upstream, &[1, 2, 3, 4, 5]);
    let id = call(&mut client, "echo", &json!({}));
    client.result(&id);
}
