//! A client gives a call up, at each step of it and for each kind of question. What is cancelled gets
//! no answer; what follows it does.

use serde_json::{Value, json};

use super::{
    answer_seen, call, calls, form, initialized, legacy_client, modern_client, questions, retry,
    stamped, told,
};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    upstream::{Seen, Upstream},
};

fn cancel(client: &Client, id: &Value) {
    client.notify("notifications/cancelled", json!({"requestId": id, "reason": "enough"}));
}

/// The `at`th call of `inquire`, once it has come.
fn nth(upstream: &Upstream, at: usize) -> Seen {
    let inquiries = |seen: &&Seen| seen.tool() == Some("inquire");
    let seen = upstream.wait_for(|seen| seen.iter().filter(inquiries).count() > at);
    seen.iter().filter(inquiries).nth(at).unwrap().clone()
}

/// A legacy client has no more to hear, and can go on.
fn goes_on(mut client: Client) {
    assert_eq!(client.tool("echo", json!({"a": 1})), json!({"a": 1}));
    assert_eq!(client.finish(), [] as [Value; 0]);
}

/// So has a modern one.
fn modern_goes_on(mut client: Client) {
    let id = call(&mut client, "echo", &json!({"a": 1}));
    assert_eq!(client.result(&id)["structuredContent"], json!({"a": 1}));
    assert_eq!(client.finish(), [] as [Value; 0]);
}

// 2026-07-28 streamable-http, "Cancellation": to a modern server a closed stream says it.

#[test]
fn a_legacy_client_cancels_before_the_modern_server_has_asked() {
    let pki = Pki::new();
    for question in questions() {
        let (upstream, mut client) = legacy_client(&pki);
        let id = client.call("inquire", question.gated(&json!(["never"])));
        let first = nth(&upstream, 0);
        cancel(&client, &id);
        upstream.wait_until_left(&first);
        goes_on(client);
        assert_eq!(calls(&upstream, "inquire").len(), 1);
        assert!(upstream.posts("notifications/cancelled").is_empty());
    }
}

#[test]
fn a_legacy_client_cancels_while_it_is_asked() {
    let pki = Pki::new();
    for question in questions() {
        let (upstream, mut client) = legacy_client(&pki);
        let id = client.call("inquire", question.arguments());
        let asked = client.server_request(question.method());
        cancel(&client, &id);
        // 2025-11-25 cancellation: what the client is still asked needs no answer any more.
        let withdrawn = client.notification("notifications/cancelled");
        assert_eq!(withdrawn["params"]["requestId"], asked["id"]);
        // An answer that was on its way is for nothing.
        client.respond(&asked, question.answer);
        goes_on(client);
        assert_eq!(calls(&upstream, "inquire").len(), 1);
        assert!(upstream.posts("notifications/cancelled").is_empty());
    }
}

#[test]
fn a_legacy_client_cancels_after_it_has_answered() {
    let pki = Pki::new();
    for question in questions() {
        let (upstream, mut client) = legacy_client(&pki);
        let id = client.call("inquire", question.gated(&json!([null, "never"])));
        let asked = client.server_request(question.method());
        client.respond(&asked, question.answer);
        let again = nth(&upstream, 1);
        cancel(&client, &id);
        upstream.wait_until_left(&again);
        goes_on(client);
        assert_eq!(calls(&upstream, "inquire").len(), 2);
    }
}

/// A stream of HTTP/1.1 closes with its connection, and nothing else does.
#[test]
fn a_legacy_client_cancels_over_http_1() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).modern().alpn(&["http/1.1"]).start();
    let mut client = Client::start(&Client::bridge(&pki, &upstream));
    initialized(&mut client);
    let question = form();
    let other = client.call("inquire", question.arguments());
    let asked = client.server_request(question.method());
    let id = client.call("inquire", question.gated(&json!(["never"])));
    let early = nth(&upstream, 1);
    cancel(&client, &id);
    upstream.wait_until_left(&early);
    let id = client.call("inquire", question.gated(&json!([null, "never"])));
    let answering = client.server_request(question.method());
    client.respond(&answering, question.answer.clone());
    let again = nth(&upstream, 3);
    cancel(&client, &id);
    upstream.wait_until_left(&again);
    client.respond(&asked, question.answer.clone());
    assert_eq!(client.result(&other), told(&json!([[question.answer]])));
    goes_on(client);
}

#[test]
fn a_legacy_client_cancels_what_is_over() {
    let pki = Pki::new();
    for question in questions() {
        let (upstream, mut client) = legacy_client(&pki);
        let id = client.call("inquire", question.arguments());
        let asked = client.server_request(question.method());
        client.respond(&asked, question.answer);
        client.result(&id);
        cancel(&client, &id);
        goes_on(client);
        assert_eq!(calls(&upstream, "inquire").len(), 2);
        assert!(upstream.posts("notifications/cancelled").is_empty());
    }
}

// 2025-11-25 cancellation: to a legacy server it is said.

/// What the legacy server is told of the first call of `inquire`.
#[track_caller]
fn told_of_cancelled(upstream: &Upstream) {
    let told = upstream.wait_for_method("notifications/cancelled");
    assert_eq!(told.json()["params"]["requestId"], calls(upstream, "inquire")[0]["id"]);
}

#[test]
fn a_modern_client_cancels_before_the_legacy_server_has_asked() {
    let pki = Pki::new();
    for question in questions() {
        let (upstream, mut client) = modern_client(&pki);
        let id = call(&mut client, "inquire", &question.gated(&json!(["late"])));
        nth(&upstream, 0);
        cancel(&client, &id);
        told_of_cancelled(&upstream);
        assert_eq!(
            upstream.posts("notifications/cancelled")[0].json()["params"]["reason"],
            "enough"
        );
        // A server that has not heard it yet asks nobody.
        upstream.release("late");
        modern_goes_on(client);
        assert_eq!(upstream.posts("notifications/cancelled").len(), 1);
    }
}

#[test]
fn a_modern_client_cancels_while_it_is_asked() {
    let pki = Pki::new();
    for question in questions() {
        let (upstream, mut client) = modern_client(&pki);
        let id = call(&mut client, "inquire", &question.arguments());
        let required = client.result(&id);
        cancel(&client, &id);
        told_of_cancelled(&upstream);
        let error = answer_seen(&upstream)["error"].clone();
        assert!(error["message"].as_str().unwrap().contains("cancelled"), "{error}");
        // It has changed its mind too late.
        let said = json!({"input-1": question.answer});
        let again = retry(&mut client, "inquire", &question.arguments(), &required, said);
        assert_eq!(client.error(&again)["code"], -32_602);
        modern_goes_on(client);
        assert_eq!(calls(&upstream, "inquire").len(), 1);
        assert_eq!(upstream.posts("notifications/cancelled").len(), 1);
    }
}

/// A client that never comes back does not hold a call for ever.
#[test]
fn a_modern_client_that_does_not_go_on_has_its_call_cancelled_in_the_end() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let bridge = Client::bridge(&pki, &upstream);
    let bridge = bridge.args(["--protocol", "modern", "--idle-timeout", "1s"]);
    let mut client = Client::start(&bridge);
    client.ask("server/discover", stamped(json!({})));
    let question = form();
    let id = call(&mut client, "inquire", &question.arguments());
    let required = client.result(&id);
    told_of_cancelled(&upstream);
    let said = json!({"input-1": question.answer});
    let again = retry(&mut client, "inquire", &question.arguments(), &required, said);
    let error = client.error(&again);
    assert!(error["message"].as_str().unwrap().contains("sent no byte for 1s"), "{error}");
    assert_eq!(calls(&upstream, "inquire").len(), 1);
    modern_goes_on(client);
}

#[test]
fn a_modern_client_cancels_after_it_has_answered() {
    let pki = Pki::new();
    for question in questions() {
        let (upstream, mut client) = modern_client(&pki);
        let arguments = question.gated(&json!([null, "never"]));
        let id = call(&mut client, "inquire", &arguments);
        let required = client.result(&id);
        let said = json!({"input-1": question.answer});
        let again = retry(&mut client, "inquire", &arguments, &required, said);
        assert_eq!(answer_seen(&upstream)["result"], question.answer);
        cancel(&client, &again);
        told_of_cancelled(&upstream);
        modern_goes_on(client);
    }
}

#[test]
fn a_modern_client_cancels_what_is_over() {
    let pki = Pki::new();
    for question in questions() {
        let (upstream, mut client) = modern_client(&pki);
        let id = call(&mut client, "inquire", &question.arguments());
        let required = client.result(&id);
        let said = json!({"input-1": question.answer});
        let again = retry(&mut client, "inquire", &question.arguments(), &required, said);
        client.result(&again);
        cancel(&client, &id);
        cancel(&client, &again);
        modern_goes_on(client);
        assert!(upstream.posts("notifications/cancelled").is_empty());
    }
}
