//! Hosts start servers to probe them: nothing happens upstream before the client means it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{jsonrpc::Client, pki::Pki, process::DEADLINE, upstream::Upstream};

#[test]
fn a_start_without_a_message_reaches_nobody() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let client = Client::start(&Client::bridge(&pki, &upstream));
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert_eq!(upstream.record().connections.len(), 0);
}

#[test]
fn a_probe_for_another_era_is_refused_after_one_round_trip_and_opens_no_session() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::start(&Client::bridge(&pki, &upstream));
    for _ in 0..2 {
        let id = client.request("server/discover", json!({"_meta": {}}));
        let error = client.error(&id);
        assert_eq!(error["code"], -32_601);
        assert!(error["message"].as_str().unwrap().contains("initialize"), "{error}");
    }
    // What it showed is remembered.
    assert_eq!(upstream.seen().len(), 1);
    assert_eq!(upstream.sessions().len(), 0);
    client.handshake();
    let id = client.request("server/discover", Value::Null);
    assert_eq!(client.error(&id)["message"], "no method server/discover", "the server's own");
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn the_first_message_is_sent_at_once_whatever_it_is() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).stateless().start();
    let mut client = Client::start(&Client::bridge(&pki, &upstream));
    client.handshake();
    assert_eq!(client.ask("ping", Value::Null), json!({}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert!(upstream.seen().iter().all(|seen| seen.method != "DELETE" && seen.session().is_none()));
}

#[test]
fn a_session_at_rest_is_two_threads_at_most() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = Client::bridge(&pki, &upstream);
    let mut client = Client::start(&program);
    client.handshake();
    client.tool("echo", json!({}));
    let until = Instant::now() + DEADLINE;
    while client.process.threads() > 2 {
        assert!(Instant::now() < until, "{} threads", client.process.threads());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(client.process.children(), []);
}

#[test]
fn a_client_may_open_another_session_on_the_same_pipe() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    client.tool("echo", json!({}));
    client.handshake();
    assert_eq!(client.tool("echo", json!({"a": 2})), json!({"a": 2}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    let ended = upstream.seen().into_iter().filter(|seen| seen.method == "DELETE");
    let sessions: Vec<_> = ended.map(|seen| seen.session().map(String::from)).collect();
    assert_eq!(sessions.len(), 2);
    assert_ne!(sessions[0], sessions[1]);
    assert_eq!(upstream.sessions(), [] as [&str; 0]);
}
