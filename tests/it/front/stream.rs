//! The first calls wait for the GET stream: servers ask on it and keep nothing.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    script::{Fault, Rule},
    upstream::Upstream,
};

#[test]
fn the_first_call_finds_the_stream_open() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    let said = json!({"method": "notifications/message", "params": {"data": "now"}});
    assert_eq!(client.tool("notify", said), json!({"heard": true}));
    assert_eq!(client.notification("notifications/message")["params"]["data"], "now");
    let seen = upstream.seen();
    let order: Vec<&Method> = seen.iter().map(|seen| &seen.method).collect();
    assert_eq!(order, ["POST", "POST", "GET", "POST"]);
}

#[test]
fn the_first_call_waits_for_the_streams_head() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::start(&Client::bridge(&pki, &upstream).args(["--http", "2"]));
    let late = Duration::from_millis(100);
    upstream.script(Rule::get(), Fault::LateHead(late));
    client.handshake();
    client.tool("echo", json!({}));
    let listened = upstream.wait_for_request(|seen| seen.method == Method::GET);
    let called = upstream.wait_for_method("tools/call");
    assert!(called.at >= listened.at + late, "{:?}", called.at - listened.at);
}

#[test]
fn the_first_call_waits_half_a_second_for_a_late_head_and_no_longer() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::start(&Client::bridge(&pki, &upstream));
    upstream.script(Rule::get(), Fault::LateHead(Duration::from_secs(600)));
    client.handshake();
    client.tool("echo", json!({}));
    let confirmed = upstream.wait_for_method("notifications/initialized");
    let called = upstream.wait_for_method("tools/call");
    assert!(called.at >= confirmed.at + Duration::from_millis(500));
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_server_without_a_stream_makes_nobody_wait() {
    for status in [405, 404, 501] {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        upstream.script(Rule::get().always(), Fault::status(status));
        let mut client = Client::connect(&pki, &upstream);
        client.tool("echo", json!({}));
        let gets = upstream.seen().into_iter().filter(|seen| seen.method == Method::GET);
        assert_eq!(gets.count(), 1, "{status}");
        assert_eq!(client.finish(), [] as [Value; 0]);
    }
}

#[test]
fn a_client_that_writes_everything_at_once_is_served_in_order() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::start(&Client::bridge(&pki, &upstream));
    let opening = client.initialize("2025-11-25");
    client.notify("notifications/initialized", Value::Null);
    let said = json!({"method": "notifications/message", "params": {}});
    let call = client.call("notify", said);
    client.result(&opening);
    assert_eq!(client.result(&call)["structuredContent"], json!({"heard": true}));
    let seen = upstream.seen();
    assert!(seen[1].is("notifications/initialized"), "{seen:?}");
    assert_eq!(seen[2].method, Method::GET);
    assert!(seen[3].is("tools/call"), "{seen:?}");
}
