//! Which era each side speaks, and who finds that out: by how the client opens, or by what it was said
//! to speak.

use serde_json::{Value, json};

use super::{
    before_modern, call, completed, form, initialize, initialized, meta, retry, stamped, told,
};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    script::{Fault, Reply, Rule},
    upstream::{Seen, Upstream},
};

fn methods(upstream: &Upstream) -> Vec<String> {
    let seen = upstream.seen();
    let posts = seen.iter().filter(|seen| seen.method == "POST");
    posts.map(|seen| seen.json()["method"].as_str().unwrap().to_owned()).collect()
}

fn spoken(pki: &Pki, upstream: &Upstream, protocol: &str) -> Client {
    Client::start(&Client::bridge(pki, upstream).args(["--protocol", protocol]))
}

/// Most hosts speak both eras, and probe.
#[test]
fn a_probe_before_a_legacy_server_is_refused_and_initialize_passes_as_it_is() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::start(&Client::bridge(&pki, &upstream));
    let id = client.request("server/discover", stamped(json!({})));
    let error = client.error(&id);
    assert!(error["message"].as_str().unwrap().contains("--protocol modern"), "{error}");
    let before = upstream.seen().len();
    let line = json!({"jsonrpc": "2.0", "id": "i", "method": "initialize", "params": initialize()});
    client.send(&line.to_string());
    let result = client.result(&json!("i"));
    assert_eq!(result["serverInfo"], json!({"name": "upstream", "version": "1"}));
    client.notify("notifications/initialized", Value::Null);
    assert_eq!(client.tool("echo", json!({"n": 1})), json!({"n": 1}));
    assert_eq!(upstream.seen()[before].body, line.to_string(), "nothing stands between");
    assert_eq!(upstream.posts("initialize").len(), 1);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_modern_client_that_goes_on_after_the_probe_is_translated() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::start(&Client::bridge(&pki, &upstream));
    let id = client.request("server/discover", stamped(json!({})));
    client.error(&id);
    for n in 1..=2 {
        let id = call(&mut client, "count", &json!({"n": n}));
        let result = client.result(&id);
        assert_eq!(result["structuredContent"], json!({"n": n, "times": 1}));
        assert_eq!(result["resultType"], "complete");
    }
    assert_eq!((upstream.ran(1), upstream.ran(2)), (1, 1));
    assert_eq!(upstream.posts("initialize").len(), 1);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_modern_client_that_does_not_probe_is_translated() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::start(&Client::bridge(&pki, &upstream));
    let id = call(&mut client, "count", &json!({"n": 1}));
    assert_eq!(client.result(&id)["structuredContent"], json!({"n": 1, "times": 1}));
    assert_eq!(upstream.ran(1), 1);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

/// What servers say to a request that has no session, or a revision they do not know.
fn refusals() -> Vec<Reply> {
    let error = |status: u16, id: Value, code: i64, message: &str| {
        let error = json!({"code": code, "message": message});
        Reply::json(status, &json!({"jsonrpc": "2.0", "id": id, "error": error}))
    };
    let unsupported = "Bad Request: Unsupported protocol version: 2026-07-28";
    vec![
        error(400, Value::Null, -32_000, "Bad Request: Server not initialized"),
        error(400, json!("server-error"), -32_600, "Bad Request: Missing session ID"),
        error(400, Value::Null, -32_000, unsupported),
        error(404, Value::Null, -32_001, "Session not found"),
        Reply::new(422).body("Unexpected message, expect initialize request"),
        Reply::new(400),
    ]
}

#[test]
fn a_legacy_server_is_known_by_whatever_it_says() {
    let pki = Pki::new();
    for refusal in refusals() {
        let upstream = Upstream::mutual(&pki);
        let modern = |seen: &Seen| seen.header("mcp-protocol-version") == Some("2026-07-28");
        upstream.script(Rule::matching(modern).always(), Fault::Answer(refusal.clone()));
        let mut client = Client::start(&Client::bridge(&pki, &upstream));
        let ids: Vec<Value> =
            (1..=3).map(|n| call(&mut client, "count", &json!({"n": n}))).collect();
        for (n, id) in (1..=3).zip(&ids) {
            let result = client.result(id);
            assert_eq!(result["structuredContent"], json!({"n": n, "times": 1}), "{refusal:?}");
        }
        assert_eq!(client.finish(), [] as [Value; 0]);
    }
}

/// A server without sessions may just do what it is told.
#[test]
fn a_legacy_server_without_sessions_is_translated_too() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).stateless().start();
    let mut client = spoken(&pki, &upstream, "modern");
    client.ask("server/discover", stamped(json!({})));
    let id = call(&mut client, "inquire", &form().arguments());
    let required = client.result(&id);
    let said = json!({"input-1": form().answer});
    let id = retry(&mut client, "inquire", &form().arguments(), &required, said);
    assert_eq!(client.result(&id), completed(told(&json!([[form().answer]]))));
    assert!(upstream.seen().iter().all(|seen| seen.session().is_none()));
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_legacy_client_before_a_modern_server_sees_a_good_session_only() {
    let pki = Pki::new();
    let (upstream, mut client) = before_modern(&pki);
    initialized(&mut client);
    client.tool("echo", json!({}));
    let asked = methods(&upstream);
    assert_eq!(&asked[..2], ["initialize", "server/discover"], "{asked:?}");
    assert_eq!(asked.iter().filter(|method| *method == "initialize").count(), 1);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

/// What servers of no other era say to `initialize`.
#[test]
fn a_modern_server_is_known_by_whatever_it_says() {
    let pki = Pki::new();
    let supported = json!({"supported": ["2026-07-28"]});
    let error = |status: u16, named: bool, code: i64| {
        let supported = supported.clone();
        Fault::made(move |seen| {
            let id = if named { seen.id() } else { Value::Null };
            let error = json!({"code": code, "message": "no", "data": supported});
            let answer = json!({"jsonrpc": "2.0", "id": id, "error": error});
            Fault::Answer(Reply::json(status, &answer))
        })
    };
    for refusal in [
        error(400, false, -32_020),
        error(400, true, -32_022),
        error(404, true, -32_601),
        error(400, true, -32_602),
        error(400, false, -32_600),
        error(200, true, -32_601),
        error(200, true, -32_022),
        Fault::status(400),
        Fault::Answer(Reply::new(400).body("Bad Request")),
    ] {
        let (upstream, mut client) = before_modern(&pki);
        upstream.script(Rule::on("initialize").always(), refusal);
        assert_eq!(initialized(&mut client)["instructions"], "be brief");
        assert_eq!(client.tool("count", json!({"n": 1})), json!({"n": 1, "times": 1}));
        assert_eq!(upstream.posts("initialize").len(), 1);
        assert_eq!(client.finish(), [] as [Value; 0]);
    }
}

/// It is the gateway's or the caller's trouble, and shows nothing.
#[test]
fn a_refusal_that_is_not_of_the_era_is_the_answer() {
    let pki = Pki::new();
    for status in [401, 403, 429, 500, 503] {
        let (upstream, mut client) = before_modern(&pki);
        upstream.script(Rule::next(), Fault::status(status));
        let id = client.request("initialize", initialize());
        let error = client.error(&id);
        assert!(error["message"].as_str().unwrap().contains(&status.to_string()), "{error}");
        assert_eq!(upstream.seen().len(), 1, "{status}");
        initialized(&mut client);
        assert_eq!(client.finish(), [] as [Value; 0]);
    }
}

#[test]
fn modern_is_spoken_from_the_first_message_where_that_was_said() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = spoken(&pki, &upstream, "modern");
    let discovered = client.ask("server/discover", stamped(json!({})));
    assert_eq!(discovered["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(client.finish(), [] as [Value; 0]);

    let upstream = Upstream::options(&pki).modern().start();
    let mut client = spoken(&pki, &upstream, "modern");
    let discovered = client.ask("server/discover", stamped(json!({})));
    assert_eq!(discovered["instructions"], "be brief");
    let line = json!({
        "jsonrpc": "2.0", "id": "e", "method": "tools/call",
        "params": {"name": "echo", "arguments": {}, "_meta": meta()},
    });
    client.send(&line.to_string());
    client.result(&json!("e"));
    assert_eq!(methods(&upstream).last().unwrap(), "tools/call");
    assert_eq!(upstream.seen().last().unwrap().body, line.to_string(), "nothing stands between");
    assert!(upstream.posts("initialize").is_empty());
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn legacy_is_spoken_from_the_first_message_where_that_was_said() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).modern().start();
    let mut client = spoken(&pki, &upstream, "legacy");
    assert_eq!(initialized(&mut client)["instructions"], "be brief");
    assert_eq!(client.tool("echo", json!({"n": 1})), json!({"n": 1}));
    assert!(upstream.posts("initialize").is_empty(), "the server is not asked what it can't know");
    assert_eq!(client.finish(), [] as [Value; 0]);

    let upstream = Upstream::mutual(&pki);
    let mut client = spoken(&pki, &upstream, "legacy");
    let line = json!({"jsonrpc": "2.0", "id": "i", "method": "initialize", "params": initialize()});
    client.send(&line.to_string());
    client.result(&json!("i"));
    client.notify("notifications/initialized", Value::Null);
    assert_eq!(client.tool("echo", json!({"n": 1})), json!({"n": 1}));
    let opened = upstream.posts("initialize");
    assert_eq!((opened.len(), &opened[0].body[..]), (1, line.to_string().as_bytes()));
    assert_eq!(client.finish(), [] as [Value; 0]);
}
