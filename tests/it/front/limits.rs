//! The bounds: size of a message, requests in flight, time without a byte. What is over one is
//! answered with an error of its own, and the rest goes on.

use serde_json::{Value, json};

use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    script::{Fault, Rule},
    upstream::Upstream,
};

#[test]
fn a_line_over_the_limit_is_answered_under_its_id() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = Client::bridge(&pki, &upstream).args(["--max-message", "64KiB"]);
    let mut client = Client::start(&program);
    client.handshake();
    let big = "x".repeat(200 * 1024);
    client.send(&format!(r#"{{"jsonrpc":"2.0","id":"first","method":"m","params":"{big}"}}"#));
    client.send(&format!(r#"{{"method":"m","params":["{big}"],"jsonrpc":"2.0","id":"last"}}"#));
    for id in ["first", "last"] {
        let error = client.error(&json!(id));
        assert_eq!(
            (&error["code"], &error["data"]["stage"]),
            (&json!(-32_600), &json!("downstream"))
        );
        assert!(error["message"].as_str().unwrap().contains("--max-message"), "{error}");
    }
    client.send(&big);
    assert_eq!(client.error(&Value::Null)["code"], -32_700);
    let fits = json!({"a": "x".repeat(60 * 1024)});
    assert_eq!(client.ask("ping", fits), json!({}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert_eq!(upstream.posts("m").len(), 0);
}

#[test]
fn a_server_message_over_the_limit_fails_its_call_and_others_go_on() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = Client::bridge(&pki, &upstream).args(["--max-message", "64KiB"]);
    let mut client = Client::start(&program);
    client.handshake();
    let waiting = client.call("wait", json!({"gate": "a"}));
    for sse in [false, true] {
        let id = client.call("big", json!({"bytes": 1_000_000, "sse": sse}));
        let error = client.error(&id);
        assert_eq!(error["data"]["stage"], "protocol", "{error}");
        assert!(error["message"].as_str().unwrap().contains("--max-message"), "{error}");
        let id = client.call("big", json!({"bytes": 60_000, "sse": sse}));
        client.result(&id);
    }
    upstream.release("a");
    client.result(&waiting);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn an_id_that_is_in_flight_is_refused_and_its_call_goes_on() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    let id = client.call("wait", json!({"gate": "a"}));
    client.send(&json!({"jsonrpc": "2.0", "id": id, "method": "ping"}).to_string());
    let error = client.error(&id);
    assert_eq!(error["code"], -32_600);
    assert!(error["message"].as_str().unwrap().contains("already in flight"), "{error}");
    upstream.release("a");
    assert_eq!(client.result(&id)["structuredContent"]["gate"], "a");
    client.send(&json!({"jsonrpc": "2.0", "id": id, "method": "ping"}).to_string());
    assert_eq!(client.result(&id), json!({}), "free again");
    assert_eq!(upstream.posts("ping").len(), 1);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn requests_over_the_bound_are_refused_one_by_one() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    let waiting: Vec<Value> =
        (0..1024).map(|_| client.call("wait", json!({"gate": "a"}))).collect();
    for _ in 0..3 {
        let id = client.request("ping", Value::Null);
        let error = client.error(&id);
        assert_eq!(error["code"], -32_600);
        assert!(error["message"].as_str().unwrap().contains("1024"), "{error}");
    }
    upstream.release("a");
    waiting.iter().for_each(|id| drop(client.result(id)));
    assert_eq!(client.ask("ping", Value::Null), json!({}));
    assert_eq!(upstream.posts("ping").len(), 1);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_call_without_a_byte_is_given_up_here_and_cancelled_there() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = Client::bridge(&pki, &upstream).args(["--idle-timeout", "500ms"]);
    let mut client = Client::start(&program);
    client.handshake();
    upstream.script(Rule::call("progress"), Fault::StallAt { at: 10 });
    for tool in ["wait", "progress"] {
        let id = client.call(tool, json!({"gate": tool}));
        let error = client.error(&id);
        assert_eq!(error["data"]["stage"], "response");
        assert!(error["message"].as_str().unwrap().contains("--idle-timeout"), "{error}");
        upstream.wait_for_request(|seen| {
            seen.is("notifications/cancelled") && seen.json()["params"]["requestId"] == id
        });
    }
    upstream.release("wait");
    assert_eq!(client.tool("echo", json!({})), json!({}));
    assert_eq!(client.finish(), [] as [Value; 0]);
}
