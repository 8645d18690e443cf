//! A legacy client before a modern server: its session is played here, and what it says is said again
//! with each request.

use serde_json::{Value, json};

use super::{before_modern, calls, initialize, initialized, legacy_client, meta};
use crate::support::{
    pki::Pki,
    script::{Fault, Rule},
};

/// discover, "Response"; 2025-11-25 lifecycle, "Initialization".
#[test]
fn initialize_is_answered_by_discovery() {
    let pki = Pki::new();
    let (upstream, mut client) = before_modern(&pki);
    let expected = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {
            "tools": {"listChanged": true},
            "prompts": {"listChanged": true},
            "resources": {"listChanged": true, "subscribe": true},
            "logging": {},
        },
        "serverInfo": {"name": "upstream", "version": "1"},
        "instructions": "be brief",
    });
    assert_eq!(initialized(&mut client), expected);
    let asked = upstream.posts("server/discover");
    assert_eq!(asked.last().unwrap().json()["params"], json!({"_meta": meta()}));
    assert_eq!(asked.len(), 1);
    let mut older = initialize();
    older["protocolVersion"] = "2025-03-26".into();
    assert_eq!(client.ask("initialize", older)["protocolVersion"], "2025-03-26");
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert!(upstream.posts("notifications/initialized").is_empty());
    assert!(upstream.seen().iter().all(|seen| seen.method == "POST" && seen.session().is_none()));
}

#[test]
fn what_a_modern_server_does_not_know_is_answered_here() {
    let pki = Pki::new();
    let (upstream, mut client) = legacy_client(&pki);
    assert_eq!(client.ask("ping", Value::Null), json!({}));
    client.tool("echo", json!({"n": 1}));
    assert_eq!(client.ask("logging/setLevel", json!({"level": "warning"})), json!({}));
    let id = client.request("logging/setLevel", json!({"level": "loud"}));
    assert_eq!(client.error(&id)["code"], -32_602);
    client.notify("notifications/roots/list_changed", Value::Null);
    client.tool("echo", json!({"n": 2}));
    let level = "io.modelcontextprotocol/logLevel";
    let mut logged = meta();
    logged[level] = "warning".into();
    let sent = calls(&upstream, "echo");
    assert_eq!(sent[0]["params"]["_meta"], meta());
    assert_eq!(sent[1]["params"]["_meta"], logged, "the level goes with each request");
    for method in ["ping", "logging/setLevel", "notifications/roots/list_changed"] {
        assert!(upstream.posts(method).is_empty(), "{method}");
    }
    assert_eq!(client.finish(), [] as [Value; 0]);
}

/// basic, "ResultType"; server/utilities/caching.
#[test]
fn results_lose_what_their_era_added() {
    let pki = Pki::new();
    let (_upstream, mut client) = legacy_client(&pki);
    let listed = client.ask("tools/list", json!({}));
    assert_eq!(listed.as_object().unwrap().keys().collect::<Vec<_>>(), ["tools"]);
    assert_eq!(client.ask("prompts/list", json!({})), json!({"prompts": []}));
    let id = client.call("echo", json!({"a": 1}));
    let text = json!({"type": "text", "text": r#"{"a":1}"#});
    let expected = json!({"content": [text], "structuredContent": {"a": 1}});
    assert_eq!(client.result(&id), expected);
    let id = client.request("resources/read", json!({"uri": "file:///none"}));
    assert_eq!(client.error(&id), json!({"code": -32_002, "message": "no such resource"}));
    let id = client.request("no/such", json!({}));
    assert_eq!(client.error(&id)["code"], -32_601);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

/// streamable-http, "Custom Headers from Tool Parameters".
#[test]
fn arguments_are_mirrored_although_the_client_knows_nothing_of_it() {
    let pki = Pki::new();
    let (upstream, mut client) = legacy_client(&pki);
    // The server is strict: that it answered shows the header. Here nobody has listed the tools yet.
    assert_eq!(client.tool("run", json!({"region": "us"})), json!({"region": "us"}));
    let listed = client.ask("tools/list", json!({}));
    let names: Vec<&Value> =
        listed["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert!(names.contains(&&json!("run")) && !names.contains(&&json!("bad")), "{names:?}");
    let before = upstream.seen().len();
    assert_eq!(client.tool("run", json!({"region": " eu\u{e4}"})), json!({"region": " eu\u{e4}"}));
    let seen = upstream.seen();
    assert_eq!(seen.len(), before + 1);
    assert_eq!(seen[before].header("mcp-param-region"), Some("=?base64?IGV1w6Q=?="));
    assert_eq!(seen[before].header("mcp-method"), Some("tools/call"));
    assert_eq!(seen[before].header("mcp-name"), Some("run"));
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn progress_keeps_to_its_call() {
    let pki = Pki::new();
    let (_upstream, mut client) = legacy_client(&pki);
    let id = client.call_with_progress("progress", json!({"steps": 2}));
    assert_eq!(client.result(&id)["structuredContent"], json!({"steps": 2}));
    for step in 1..=2 {
        let said = client.notification("notifications/progress");
        assert_eq!(said["params"], json!({"progressToken": id, "progress": step, "total": 2}));
    }
    assert_eq!(client.finish(), [] as [Value; 0]);
}

/// server/utilities/logging: what is logged comes on the request's stream.
#[test]
fn log_messages_come_before_the_result() {
    let pki = Pki::new();
    let (upstream, mut client) = legacy_client(&pki);
    let logged = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {
        "level": "error", "logger": "l", "data": {"a": 1},
    }});
    let said = logged.clone();
    upstream.script(
        Rule::call("echo"),
        Fault::made(move |seen| {
            let result = json!({"content": [], "resultType": "complete"});
            let answer = json!({"jsonrpc": "2.0", "id": seen.id(), "result": result});
            Fault::sse_text(format!("data: {said}\n\ndata: {answer}\n\n"))
        }),
    );
    let id = client.call("echo", json!({}));
    assert_eq!(client.result(&id), json!({"content": []}));
    assert_eq!(client.received().iter().rev().nth(1), Some(&logged));
    assert_eq!(client.notification("notifications/message"), logged);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_result_of_a_mebibyte_passes_with_every_byte_of_its_content_the_same() {
    let pki = Pki::new();
    let (upstream, mut client) = legacy_client(&pki);
    let content = super::large_content();
    let answer = content.clone();
    upstream.script(
        Rule::call("echo"),
        Fault::made(move |seen| {
            let id = seen.id();
            Fault::json_text(format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete",{answer}, "ttlMs":1}}}}"#
            ))
        }),
    );
    let id = client.call("echo", json!({}));
    client.result(&id);
    let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{{content}}}}}"#);
    assert!(client.process.stdout().lines().any(|said| said == line), "not as it was");
    assert_eq!(client.finish(), [] as [Value; 0]);
}
