//! A modern client before a legacy server: sessions are opened in its name, and results are what its
//! era has.

use serde_json::{Value, json};

use super::{
    before_legacy, call, calls, completed, information, meta, modern_client, server, stamped,
};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    script::{Fault, Form, Rule},
};

/// server/discover, "Response".
#[test]
fn discovery_is_answered_from_a_session() {
    let pki = Pki::new();
    let (upstream, mut client) = before_legacy(&pki);
    let expected = json!({
        "resultType": "complete",
        "supportedVersions": ["2026-07-28"],
        "capabilities": {
            "tools": {"listChanged": true},
            "prompts": {"listChanged": true},
            "resources": {"listChanged": true, "subscribe": true},
            "logging": {},
        },
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": server(),
    });
    assert_eq!(client.ask("server/discover", stamped(json!({}))), expected);
    assert_eq!(client.ask("server/discover", stamped(json!({}))), expected);
    assert_eq!(upstream.posts("server/discover").len(), 1, "once, to see what it is");
    assert_eq!(upstream.posts("initialize").len(), 1);
    assert_eq!(upstream.posts("initialize")[0].json()["params"]["clientInfo"], information());
    assert_eq!(client.finish(), [] as [Value; 0]);
    upstream.wait_for_request(|seen| seen.method == "DELETE");
    assert_eq!(upstream.sessions(), [] as [String; 0]);
}

/// basic, "ResultType" and "Per-response protocol fields"; server/utilities/caching.
#[test]
fn results_get_what_their_era_has() {
    let pki = Pki::new();
    let (upstream, mut client) = modern_client(&pki);
    let listed = client.ask("prompts/list", stamped(json!({"cursor": "c"})));
    let expected = json!({
        "prompts": [], "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
        "_meta": server(),
    });
    assert_eq!(listed, expected);
    assert_eq!(upstream.posts("prompts/list")[0].json()["params"]["cursor"], "c");
    let id = call(&mut client, "echo", &json!({"a": 1}));
    let text = json!({"type": "text", "text": r#"{"a":1}"#});
    let expected = json!({"content": [text], "structuredContent": {"a": 1}});
    assert_eq!(client.result(&id), completed(expected));
    upstream.script(
        Rule::on("resources/read"),
        Fault::made(|seen| {
            let error = json!({"code": -32_002, "message": "none", "data": {"uri": "a:b"}});
            let answer = json!({"jsonrpc": "2.0", "id": seen.id(), "error": error});
            Fault::json_text(answer.to_string())
        }),
    );
    let id = client.request("resources/read", stamped(json!({"uri": "a:b"})));
    let expected = json!({"code": -32_602, "message": "none", "data": {"uri": "a:b"}});
    assert_eq!(client.error(&id), expected);
    let id = client.request("initialize", stamped(json!({})));
    assert_eq!(client.error(&id)["code"], -32_601, "its era has no such method");
    assert_eq!(client.finish(), [] as [Value; 0]);
}

/// basic, "Per-request protocol fields".
#[test]
fn a_request_that_does_not_say_enough_is_refused() {
    let pki = Pki::new();
    let (upstream, mut client) = modern_client(&pki);
    let mut params = stamped(json!({}));
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "1900-01-01".into();
    let id = client.request("tools/list", params);
    let error = client.error(&id);
    assert_eq!(
        (&error["code"], &error["data"]["supported"]),
        (&json!(-32_022), &json!(["2026-07-28"]))
    );
    let id = client.request("tools/list", json!({}));
    assert_eq!(client.error(&id)["code"], -32_602);
    assert!(upstream.posts("tools/list").is_empty());
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn the_level_of_logging_and_progress_are_those_of_the_request() {
    let pki = Pki::new();
    let (upstream, mut client) = modern_client(&pki);
    let mut params = stamped(json!({"name": "progress", "arguments": {"steps": 2}}));
    params["_meta"]["io.modelcontextprotocol/logLevel"] = "warning".into();
    params["_meta"]["progressToken"] = "mine".into();
    let id = client.request("tools/call", params);
    assert_eq!(client.result(&id), completed(steps()));
    for step in 1..=2 {
        let said = client.notification("notifications/progress");
        assert_eq!(said["params"], json!({"progressToken": "mine", "progress": step, "total": 2}));
    }
    assert_eq!(upstream.posts("logging/setLevel")[0].json()["params"], json!({"level": "warning"}));
    assert_eq!(client.finish(), [] as [Value; 0]);
}

/// server/utilities/logging, "Per-request log level".
#[test]
fn log_messages_are_those_that_the_request_wants() {
    let pki = Pki::new();
    let (upstream, mut client) = modern_client(&pki);
    let say = |level: &str| {
        let params = json!({"level": level, "data": "said"});
        json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
    };
    for (wanted, heard) in [(None, 0), (Some("warning"), 1), (Some("debug"), 2)] {
        let (low, high) = (say("info"), say("error"));
        upstream.script(
            Rule::call("echo"),
            Fault::made(move |seen| {
                let result = json!({"jsonrpc": "2.0", "id": seen.id(), "result": {"content": []}});
                Fault::sse_text(format!("data: {low}\n\ndata: {high}\n\ndata: {result}\n\n"))
            }),
        );
        let mut params = stamped(json!({"name": "echo", "arguments": {}}));
        if let Some(level) = wanted {
            params["_meta"]["io.modelcontextprotocol/logLevel"] = level.into();
        }
        let id = client.request("tools/call", params);
        client.result(&id);
        let logged = client.unclaimed();
        assert_eq!(logged.len(), heard, "{wanted:?}: {logged:?}");
        (0..heard).for_each(|_| drop(client.notification("notifications/message")));
    }
    assert_eq!(client.finish(), [] as [Value; 0]);
}

fn steps() -> Value {
    json!({
        "content": [{"type": "text", "text": r#"{"steps":2}"#}], "structuredContent": {"steps": 2},
    })
}

#[test]
fn a_lost_session_is_recovered_and_the_client_sees_nothing() {
    let pki = Pki::new();
    let (upstream, mut client) = modern_client(&pki);
    let id = call(&mut client, "count", &json!({"n": 1}));
    client.result(&id);
    upstream.forget_sessions();
    let id = call(&mut client, "count", &json!({"n": 2}));
    assert_eq!(client.result(&id)["structuredContent"], json!({"n": 2, "times": 1}));
    let opened = upstream.posts("initialize");
    assert_eq!(opened.len(), 2);
    assert_eq!(opened[0].json()["params"], opened[1].json()["params"]);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

/// basic, "Per-request protocol fields": a client may say something else each time.
#[test]
fn who_asks_otherwise_has_a_session_of_its_own() {
    let pki = Pki::new();
    let (upstream, mut client) = modern_client(&pki);
    let as_one = |client: &mut Client, capabilities: &Value| {
        let mut params = json!({"name": "echo", "arguments": {}, "_meta": meta()});
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities.clone();
        let id = client.request("tools/call", params);
        client.result(&id);
    };
    let (none, some) = (json!({}), json!({"sampling": {}}));
    for capabilities in [&none, &some, &none, &some] {
        as_one(&mut client, capabilities);
    }
    let opened = upstream.posts("initialize");
    let said: Vec<&Value> =
        opened[1..].iter().map(|seen| &seen.json()["params"]["capabilities"]).collect();
    assert_eq!(said, [&none, &some]);
    let calls = upstream.posts("tools/call");
    let sessions: Vec<&str> = calls.iter().map(|seen| seen.session().unwrap()).collect();
    assert_eq!((sessions[0], sessions[1]), (sessions[2], sessions[3]));
    assert_ne!(sessions[0], sessions[1]);
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert_eq!(upstream.sessions(), [] as [String; 0], "both are ended");
}

/// Sessions are not opened without end: the one that was not used for the longest time makes room.
#[test]
fn who_asks_otherwise_each_time_has_as_many_sessions_as_there_is_room_for() {
    let pki = Pki::new();
    let (upstream, mut client) = modern_client(&pki);
    for n in 0..20 {
        let mut params = json!({"name": "count", "arguments": {"n": n}, "_meta": meta()});
        params["_meta"]["io.modelcontextprotocol/clientInfo"]["version"] = format!("0.{n}").into();
        let id = client.request("tools/call", params);
        client.result(&id);
    }
    upstream.wait_for(|seen| seen.iter().filter(|seen| seen.method == "DELETE").count() == 13);
    assert_eq!(upstream.sessions().len(), 8);
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert_eq!(upstream.sessions(), [] as [String; 0]);
}

/// What a server may ask beside what clients are asked for.
#[test]
fn a_servers_other_requests_are_answered_here() {
    let pki = Pki::new();
    let (_upstream, mut client) = modern_client(&pki);
    let id = call(&mut client, "ask", &json!({"method": "ping"}));
    assert_eq!(client.result(&id)["structuredContent"]["result"], json!({}));
    let id = call(&mut client, "ask", &json!({"method": "tasks/get", "params": {}}));
    assert_eq!(client.result(&id)["structuredContent"]["error"]["code"], -32_601);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_result_of_a_mebibyte_passes_with_every_byte_of_its_content_the_same() {
    let pki = Pki::new();
    for form in [Form::Json, Form::Sse] {
        let (upstream, mut client) = modern_client(&pki);
        let content = super::large_content();
        let answer = content.clone();
        upstream.script(
            Rule::call("echo"),
            Fault::made(move |seen| {
                let id = seen.id();
                let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{{answer}}}}}"#);
                match form {
                    Form::Json => Fault::json_text(line),
                    Form::Sse => Fault::sse_text(format!("data: {line}\n\n")),
                }
            }),
        );
        let id = call(&mut client, "echo", &json!({}));
        assert_eq!(client.result(&id)["resultType"], "complete");
        let said = client.process.stdout();
        assert!(said.contains(&content), "not as it was");
        assert!(calls(&upstream, "echo").len() == 1);
        assert_eq!(client.finish(), [] as [Value; 0]);
    }
}
