//! Standard input of every kind: its end drains what is in flight and ends the session.

use std::fs;

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::{DEADLINE, Front},
    upstream::Upstream,
};

fn farewells(upstream: &Upstream) -> usize {
    upstream.seen().iter().filter(|seen| seen.method == Method::DELETE).count()
}

#[test]
fn pipes_and_sockets_carry_a_session() {
    for front in [Front::Pipes, Front::Sockets] {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let mut client = Client::start(&Client::bridge(&pki, &upstream).front(front));
        client.handshake();
        let text = "é".repeat(500_000);
        assert_eq!(client.tool("echo", json!({"text": text})), json!({"text": text}));
        assert_eq!(client.finish(), [] as [Value; 0]);
        assert_eq!(farewells(&upstream), 1);
    }
}

#[test]
fn a_file_is_answered_to_its_end() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let lines = [
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize",
            "params": {"protocolVersion": "2025-11-25", "capabilities": {}}}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call",
            "params": {"name": "progress", "_meta": {"progressToken": 2}}}),
        json!({"jsonrpc": "2.0", "id": 3, "method": "tools/list"}),
    ];
    let path = pki.path().join("lines");
    let text = lines.map(|line| line.to_string()).join("\n");
    fs::write(&path, text).unwrap();
    let mut client = Client::start(&Client::bridge(&pki, &upstream).front(Front::File(path)));
    for id in 1..=3 {
        client.result(&json!(id));
    }
    assert!(client.process.wait_exit(DEADLINE).success());
    assert_eq!(client.unclaimed().len(), 3, "three steps of progress");
    assert_eq!(farewells(&upstream), 1);
}

#[test]
fn a_terminal_is_read_line_by_line() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::start(&Client::bridge(&pki, &upstream).front(Front::Terminal));
    client.handshake();
    assert_eq!(client.tool("echo", json!({"a": "é"})), json!({"a": "é"}));
    client.process.write("\x04");
    assert!(client.process.wait_exit(DEADLINE).success());
    assert_eq!(farewells(&upstream), 1);
}

#[test]
fn the_end_during_a_call_still_delivers_its_answer() {
    for front in [Front::Pipes, Front::Sockets] {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let mut client = Client::start(&Client::bridge(&pki, &upstream).front(front));
        client.handshake();
        let id = client.call("wait", json!({"gate": "a"}));
        client.process.close_stdin();
        let call = upstream.wait_for_method("tools/call");
        upstream.release("a");
        client.result(&id);
        let ended = upstream.wait_for_request(|seen| seen.method == Method::DELETE);
        assert_eq!(ended.session(), call.session());
        assert!(client.process.wait_exit(DEADLINE).success());
    }
}

#[test]
fn the_end_with_many_calls_in_flight_delivers_all_answers() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    let gates = ["a", "b", "c"].map(|gate| (gate, client.call("wait", json!({"gate": gate}))));
    let progress = client.call_with_progress("progress", json!({"steps": 3, "gate": "d"}));
    let asking = client.call("ask", json!({"method": "roots/list"}));
    client.process.close_stdin();
    client.server_request("roots/list");
    upstream.release("d");
    client.result(&progress);
    for (gate, id) in gates.iter().rev() {
        upstream.release(gate);
        client.result(id);
    }
    // Its question can't be answered any more; the signal ends the wait for it.
    client.process.signal(rustix::process::Signal::TERM);
    assert_eq!(client.error(&asking)["data"]["stage"], "send");
    assert!(client.process.wait_exit(DEADLINE).success());
    assert_eq!(farewells(&upstream), 1);
}

#[test]
fn the_last_line_needs_no_end() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    client.process.write(r#"{"jsonrpc":"2.0","id":5,"method":"ping"}"#);
    client.process.close_stdin();
    assert_eq!(client.result(&json!(5)), json!({}));
    assert!(client.process.wait_exit(DEADLINE).success());
}
