//! All at once: a client that waits for nothing, calls and questions side by side, and an end while all
//! of it is open. Each request has one answer.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{before_legacy, before_modern, calls, form, initialize, questions, stamped};
use crate::support::{jsonrpc::Client, pki::Pki};

/// What a script writes into a pipe: everything, and its end.
#[test]
fn a_client_that_writes_all_it_has_and_closes_gets_all_its_answers() {
    let pki = Pki::new();
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let (upstream, mut client) = before_modern(&pki);
    let opening = client.request("initialize", initialize());
    client.send(&initialized.to_string());
    let calling = client.call("count", json!({"n": 1}));
    let listing = client.request("tools/list", json!({}));
    client.process.close_stdin();
    assert_eq!(client.result(&opening)["protocolVersion"], "2025-11-25");
    assert_eq!(client.result(&calling)["structuredContent"], json!({"n": 1, "times": 1}));
    assert!(client.result(&listing)["tools"].is_array());
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert_eq!(upstream.ran(1), 1);

    let (upstream, mut client) = before_legacy(&pki);
    let opening = client.request("server/discover", stamped(json!({})));
    let calling = super::call(&mut client, "count", &json!({"n": 1}));
    let listing = client.request("tools/list", stamped(json!({})));
    client.process.close_stdin();
    assert_eq!(client.result(&opening)["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(client.result(&calling)["structuredContent"], json!({"n": 1, "times": 1}));
    assert!(client.result(&listing)["tools"].is_array());
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert_eq!(upstream.ran(1), 1);
}

/// How often each id was answered.
fn answered(messages: &[Value]) -> HashMap<String, usize> {
    let mut answered = HashMap::new();
    for message in messages.iter().filter(|message| message.get("method").is_none()) {
        *answered.entry(message["id"].to_string()).or_default() += 1;
    }
    answered
}

/// All of them, once.
#[track_caller]
fn once(client: &mut Client, ids: &[Value]) {
    let answered = answered(client.received());
    for id in ids {
        assert_eq!(
            answered.get(&id.to_string()),
            Some(&1),
            "{id}: {}",
            client.process.transcript()
        );
    }
}

#[test]
fn a_legacy_client_is_asked_for_many_calls_at_a_time() {
    let pki = Pki::new();
    let (upstream, mut client) = super::legacy_client(&pki);
    let [form, ..] = questions();
    let mut ids: Vec<Value> = Vec::new();
    for n in 0..10 {
        let mut arguments = form.arguments();
        arguments["rounds"][0][0]["params"]["message"] = format!("{n}").into();
        ids.push(client.call("inquire", arguments));
        ids.push(client.call("count", json!({"n": n})));
    }
    let asked: Vec<Value> = (0..10).map(|_| client.server_request(form.method())).collect();
    for asked in asked.iter().rev() {
        let content = json!({"it": asked["params"]["message"]});
        client.respond(asked, json!({"action": "accept", "content": content}));
    }
    for (n, id) in ids.iter().step_by(2).enumerate() {
        let said = client.result(id)["structuredContent"]["answers"][0][0].clone();
        assert_eq!(said["content"]["it"], format!("{n}"), "each its own");
    }
    ids.iter().skip(1).step_by(2).for_each(|id| drop(client.result(id)));
    once(&mut client, &ids);
    assert_eq!(calls(&upstream, "inquire").len(), 20);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_modern_client_is_asked_for_many_calls_at_a_time() {
    let pki = Pki::new();
    let (upstream, mut client) = super::modern_client(&pki);
    let arguments = |n: usize| {
        let mut arguments = form().arguments();
        arguments["rounds"][0][0]["params"]["message"] = format!("{n}").into();
        arguments
    };
    let ids: Vec<Value> =
        (0..10).map(|n| super::call(&mut client, "inquire", &arguments(n))).collect();
    let required: Vec<Value> = ids.iter().map(|id| client.result(id)).collect();
    let again: Vec<Value> = required
        .iter()
        .enumerate()
        .rev()
        .map(|(n, required)| {
            let asked = &required["inputRequests"]["input-1"]["params"]["message"];
            assert_eq!(*asked, format!("{n}"));
            let said = json!({"input-1": {"action": "accept", "content": {"it": asked}}});
            super::retry(&mut client, "inquire", &arguments(n), required, said)
        })
        .collect();
    for (n, id) in again.iter().rev().enumerate() {
        let said = client.result(id)["structuredContent"]["answers"][0][0].clone();
        assert_eq!(said["content"]["it"], format!("{n}"), "each its own");
    }
    once(&mut client, &ids);
    once(&mut client, &again);
    assert_eq!(calls(&upstream, "inquire").len(), 10);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn all_that_is_open_when_the_upstream_goes_is_answered() {
    let pki = Pki::new();
    let (upstream, mut client) = super::legacy_client(&pki);
    let mut ids = Vec::new();
    for question in questions() {
        ids.push(client.call("inquire", question.arguments()));
        ids.push(client.call("inquire", question.gated(&json!(["never"]))));
        ids.push(client.call("wait", json!({"gate": "never"})));
        let asked = client.server_request(question.method());
        client.respond(&asked, question.answer);
    }
    let open = ["inquire", "wait"].map(|tool| json!(tool));
    upstream.wait_for(|seen| {
        let is = |seen: &&crate::support::upstream::Seen| {
            seen.tool().is_some_and(|tool| open.contains(&json!(tool)))
        };
        seen.iter().filter(is).count() == 16
    });
    upstream.down();
    ids.iter().for_each(|id| drop(client.response(id)));
    once(&mut client, &ids);
    client.process.close_stdin();
    let status = client.process.wait_exit(crate::support::process::DEADLINE);
    assert!(status.success(), "{}", client.process.transcript());
    once(&mut client, &ids);

    let (upstream, mut client) = super::modern_client(&pki);
    let mut ids = Vec::new();
    for question in questions() {
        let id = super::call(&mut client, "inquire", &question.arguments());
        let required = client.result(&id);
        let arguments = question.gated(&json!([null, "never"]));
        let gated = super::call(&mut client, "inquire", &arguments);
        let said = json!({"input-1": question.answer});
        let gated = client.result(&gated);
        ids.push(super::retry(&mut client, "inquire", &arguments, &gated, said));
        ids.push(super::call(&mut client, "wait", &json!({"gate": "never"})));
        drop(required);
    }
    upstream.wait_for(|seen| seen.iter().filter(|it| it.tool() == Some("wait")).count() == 4);
    upstream.down();
    ids.iter().for_each(|id| drop(client.response(id)));
    once(&mut client, &ids);
    client.process.close_stdin();
    let status = client.process.wait_exit(crate::support::process::DEADLINE);
    assert!(status.success(), "{}", client.process.transcript());
    once(&mut client, &ids);
}

/// Where it is not known yet what the server speaks, a call can be given up too.
#[test]
fn what_is_cancelled_while_the_era_is_found_out_is_never_run() {
    let pki = Pki::new();
    let (upstream, mut client) = before_legacy(&pki);
    let late = std::time::Duration::from_millis(300);
    upstream.script(
        crate::support::script::Rule::next(),
        crate::support::script::Fault::LateHead(late),
    );
    let id = super::call(&mut client, "count", &json!({"n": 1}));
    upstream.wait_for_method("tools/call");
    client.notify("notifications/cancelled", json!({"requestId": id}));
    let id = super::call(&mut client, "count", &json!({"n": 2}));
    assert_eq!(client.result(&id)["structuredContent"], json!({"n": 2, "times": 1}));
    assert_eq!(upstream.ran(1), 0);
    assert_eq!(client.finish(), [] as [Value; 0]);
}
