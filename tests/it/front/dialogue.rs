//! Requests of the server, on the stream of a call or on the GET stream, and cancellation.

use std::thread;

use serde_json::{Value, json};

use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    script::{Fault, Rule},
    upstream::Upstream,
};

#[test]
fn the_server_asks_in_the_middle_of_a_call() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    for (method, params, result) in [
        ("sampling/createMessage", json!({"maxTokens": 5}), json!({"role": "assistant"})),
        ("elicitation/create", json!({"message": "who?"}), json!({"action": "decline"})),
        ("roots/list", Value::Null, json!({"roots": [{"uri": "file:///é"}]})),
    ] {
        let id = client.call("ask", json!({"method": method, "params": params}));
        let question = client.server_request(method);
        assert_eq!(question["params"], params);
        client.respond(&question, result.clone());
        assert_eq!(client.result(&id)["structuredContent"]["result"], result);
    }
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn the_clients_error_is_an_answer_too() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    let id = client.call("ask", json!({"method": "sampling/createMessage"}));
    let question = client.server_request("sampling/createMessage");
    client.respond_error(&question, -1, "User rejected sampling request");
    let answer = &client.result(&id)["structuredContent"];
    assert_eq!(answer["error"], json!({"code": -1, "message": "User rejected sampling request"}));
}

#[test]
fn many_questions_at_a_time_find_their_answers() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    let calls: Vec<(usize, Value)> = (0..8)
        .map(|n| (n, client.call("ask", json!({"method": "roots/list", "params": {"n": n}}))))
        .collect();
    let questions: Vec<Value> = calls.iter().map(|_| client.server_request("roots/list")).collect();
    for question in questions.iter().rev() {
        client.respond(question, question["params"].clone());
    }
    for (n, id) in calls {
        assert_eq!(client.result(&id)["structuredContent"]["result"], json!({"n": n}));
    }
}

#[test]
fn a_question_right_after_initialized_is_delivered() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::start(&Client::bridge(&pki, &upstream));
    thread::scope(|scope| {
        let asked = scope.spawn(|| upstream.ask("roots/list", &json!({})));
        client.handshake();
        let question = client.server_request("roots/list");
        client.respond(&question, json!({"roots": []}));
        assert_eq!(asked.join().unwrap()["result"], json!({"roots": []}));
    });
}

#[test]
fn a_cancellation_names_its_request_upstream_and_ends_it_here() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    for id in [json!(7), json!("7"), json!("a/b")] {
        let arguments = json!({"name": "wait", "arguments": {"gate": "a"}});
        let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": arguments});
        client.send(&call.to_string());
        upstream.wait_for_request(|seen| seen.tool() == Some("wait") && seen.id() == id);
        client.notify("notifications/cancelled", json!({"requestId": id, "reason": "enough"}));
        upstream.wait_for_request(|seen| {
            seen.is("notifications/cancelled") && seen.json()["params"]["requestId"] == id
        });
    }
    assert_eq!(client.tool("echo", json!({})), json!({}));
    assert_eq!(client.finish(), [] as [Value; 0], "nobody waits for what was cancelled");
}

#[test]
fn a_call_cancelled_before_it_was_sent_never_is() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::start(&Client::bridge(&pki, &upstream));
    upstream.script(Rule::on("initialize"), Fault::LateHead(std::time::Duration::from_millis(300)));
    let opening = client.initialize("2025-11-25");
    let held = client.call("count", json!({"n": 1}));
    client.notify("notifications/cancelled", json!({"requestId": held}));
    client.result(&opening);
    client.notify("notifications/initialized", Value::Null);
    assert_eq!(client.tool("echo", json!({})), json!({}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert_eq!(upstream.ran(1), 0);
    assert_eq!(upstream.posts("notifications/cancelled").len(), 0);
}
