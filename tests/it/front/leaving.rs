//! However the client leaves, the process goes with it: soon, with a DELETE, without a spin.

use std::time::Duration;

use http::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::{DEADLINE, Front},
    script::{Fault, Rule},
    upstream::Upstream,
};

fn assert_left(upstream: &Upstream) {
    upstream.wait_for_request(|seen| seen.method == Method::DELETE);
}

#[test]
fn a_signal_answers_what_is_in_flight_and_ends_the_session() {
    for signal in [Signal::TERM, Signal::INT] {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let mut client = Client::connect(&pki, &upstream);
        let ids = ["a", "b"].map(|gate| client.call("wait", json!({"gate": gate})));
        upstream.wait_for(|seen| seen.iter().filter(|seen| seen.is("tools/call")).count() == 2);
        client.process.signal(signal);
        for id in &ids {
            let error = client.error(id);
            assert!(error["message"].as_str().unwrap().contains("shut down"), "{error}");
        }
        assert!(client.process.wait_exit(DEADLINE).success());
        assert_left(&upstream);
        assert_eq!(client.unclaimed(), [] as [Value; 0]);
    }
}

#[test]
fn a_signal_at_rest_ends_it_at_once() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    client.tool("echo", json!({}));
    client.process.signal(Signal::TERM);
    assert!(client.process.wait_exit(DEADLINE).success());
    assert_left(&upstream);
}

#[test]
fn a_server_that_does_not_answer_the_farewell_holds_nobody() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    client.tool("echo", json!({}));
    upstream.script(Rule::delete().always(), Fault::Stall);
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert_left(&upstream);
}

#[test]
fn an_upstream_that_is_gone_holds_nobody() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    client.tool("echo", json!({}));
    upstream.down();
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn the_parents_death_ends_it_though_stdin_is_open() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = Client::bridge(&pki, &upstream).under_a_parent();
    let mut client = Client::start(&program);
    client.handshake();
    client.tool("echo", json!({}));
    client.process.kill_parent();
    client.process.wait_gone(Duration::from_secs(2));
    assert_left(&upstream);
}

#[test]
fn the_parents_death_ends_it_with_a_call_in_flight() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::start(&Client::bridge(&pki, &upstream).under_a_parent());
    client.handshake();
    client.call("wait", json!({"gate": "a"}));
    upstream.wait_for_method("tools/call");
    client.process.kill_parent();
    client.process.wait_gone(DEADLINE);
    assert_left(&upstream);
}

#[test]
fn the_parents_death_ends_it_before_any_session() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::start(&Client::bridge(&pki, &upstream).under_a_parent());
    // Once it answers it has seen its parent, which can't be told from another before.
    client.send("{");
    client.wait("-32700", |message| message["error"]["code"] == -32_700);
    client.process.kill_parent();
    client.process.wait_gone(DEADLINE);
    assert_eq!(upstream.record().connections.len(), 0);
}

#[test]
fn a_client_that_closes_stdout_ends_it_without_a_spin() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    client.call("wait", json!({"gate": "a"}));
    client.call("wait", json!({"gate": "never"}));
    upstream.wait_for(|seen| seen.iter().filter(|seen| seen.is("tools/call")).count() == 2);
    let before = client.process.cpu_time();
    client.process.close_stdout();
    upstream.release("a");
    // Its stdin stays open: what ends it is that nobody reads.
    client.process.wait_gone(DEADLINE);
    let spent = client.process.cpu_time() - before;
    assert!(spent < Duration::from_millis(500), "{spent:?}");
    assert_left(&upstream);
}

#[test]
fn a_client_that_closes_the_socket_of_stdout_ends_it_too() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = Client::bridge(&pki, &upstream).front(Front::Sockets);
    let mut client = Client::start(&program);
    client.handshake();
    client.process.close_stdout();
    client.call("echo", json!({}));
    client.process.wait_gone(DEADLINE);
    assert_left(&upstream);
}

#[test]
fn a_broken_stderr_does_no_harm() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::start(&Client::bridge(&pki, &upstream).args(["--debug", "-vvv"]));
    client.process.close_stderr();
    client.handshake();
    for n in 0..20 {
        assert_eq!(client.tool("echo", json!({"n": n})), json!({"n": n}));
    }
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert_left(&upstream);
}
