//! The GET stream: there before the first call, back after it broke, and the first to notice
//! that a session is gone.

use http::Method;
use serde_json::{Value, json};

use super::connected;
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    script::{Fault, Rule},
    upstream::{Seen, Upstream},
};

fn gets(upstream: &Upstream) -> Vec<Seen> {
    let mut seen = upstream.seen();
    seen.retain(|seen| seen.method == Method::GET);
    seen
}

#[test]
fn the_first_call_is_sent_when_the_server_can_ask_back() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    assert_eq!(client.tool("notify", json!({"method": "notifications/message"}))["heard"], true);
    client.notification("notifications/message");
}

#[test]
fn a_stream_that_never_begins_holds_the_first_call_for_half_a_second_only() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    upstream.script(Rule::get(), Fault::Stall);
    let mut client = Client::connect(&pki, &upstream);
    client.tool("echo", json!({}));
    let call = upstream.wait_for_method("tools/call");
    let held = call.at - gets(&upstream)[0].at;
    assert!(held.as_millis() >= 450, "{held:?}");
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_server_without_the_stream_is_asked_for_it_once() {
    for status in [404, 405, 501] {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        upstream.script(Rule::get().always(), Fault::status(status));
        let mut client = Client::connect(&pki, &upstream);
        client.tool("echo", json!({}));
        client.tool("echo", json!({}));
        assert_eq!(client.finish(), [] as [Value; 0]);
        assert_eq!((gets(&upstream).len(), upstream.posts("initialize").len()), (1, 1), "{status}");
    }
}

#[test]
fn a_broken_stream_comes_back_and_goes_on_where_it_was() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).resumable(None).start();
    let mut client = connected(&pki, &upstream);
    for n in 0..2 {
        upstream.notify("notifications/message", &json!({"data": n}));
        assert_eq!(client.notification("notifications/message")["params"]["data"], n);
        upstream.drop_connections();
        upstream.wait_for_listener();
    }
    let gets = gets(&upstream);
    assert_eq!(gets[0].header("last-event-id"), None);
    assert!(gets[1..].iter().all(|get| get.header("last-event-id").is_some()), "{gets:?}");
    assert_eq!(upstream.posts("initialize").len(), 1);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_stream_that_finds_its_session_lost_replaces_it_without_a_call() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = connected(&pki, &upstream);
    // The stream is heard, so that its later 404 is not taken for a server without one.
    upstream.notify("notifications/message", &json!({}));
    client.notification("notifications/message");
    upstream.restart();
    upstream.wait_for_listener();
    assert_eq!(upstream.posts("initialize").len(), 2);
    client.notification("notifications/tools/list_changed");
    upstream.notify("notifications/message", &json!({}));
    client.notification("notifications/message");
}

#[test]
fn questions_of_the_server_get_the_clients_answers() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = connected(&pki, &upstream);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| upstream.ask("roots/list", &Value::Null));
        let question = client.server_request("roots/list");
        client.respond(&question, json!({"roots": []}));
        assert_eq!(asked.join().unwrap()["result"], json!({"roots": []}));
        let asked = scope.spawn(|| upstream.ask("elicitation/create", &json!({"message": "?"})));
        let question = client.server_request("elicitation/create");
        client.respond_error(&question, -32601, "no");
        assert_eq!(asked.join().unwrap()["error"], json!({"code": -32601, "message": "no"}));
    });
    let call = client.call("ask", json!({"method": "sampling/createMessage", "params": {"a": 1}}));
    let question = client.server_request("sampling/createMessage");
    assert_eq!(question["params"], json!({"a": 1}));
    client.respond(&question, json!({"role": "assistant"}));
    assert_eq!(client.result(&call)["structuredContent"]["result"]["role"], "assistant");
}
