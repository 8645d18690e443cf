//! What passes, and what is changed in it.

use super::*;
use crate::mcp::translate::odd;

#[test]
fn a_request_loses_what_is_of_its_revision_alone() {
    let mut table = Table::ready();
    let params = json!({ "name": "run", "x": [1.0], "_meta": {
        "progressToken": "p", "traceparent": "00-0", "io.modelcontextprotocol/other": 1,
        "com.example/own": {} } });
    let did = table.client(&request(1, "tools/call", params));
    let sent = posted(&did).1;
    assert_eq!(
        sent["params"],
        json!({ "name": "run", "x": [1.0], "_meta": {
        "progressToken": sent["id"], "traceparent": "00-0", "io.modelcontextprotocol/other": 1,
        "com.example/own": {} } })
    );
}

/// basic, "Responses" and "Per-response protocol fields"; server/utilities/caching, "Cacheable
/// Results".
#[test]
fn a_result_gets_what_its_revision_asks_for() {
    let info = json!({ "name": "old", "version": "1.0" });
    let named = json!({ "io.modelcontextprotocol/serverInfo": info });
    for (method, given, expected) in [
        (
            "tools/call",
            json!({ "content": [], "_meta": { "own": 1 } }),
            json!({ "content": [], "resultType": "complete", "_meta": { "own": 1, "io.modelcontextprotocol/serverInfo": info } }),
        ),
        (
            "tools/list",
            json!({ "tools": [], "nextCursor": "c" }),
            json!({ "tools": [], "nextCursor": "c", "resultType": "complete", "ttlMs": 0, "cacheScope": "private", "_meta": named }),
        ),
        (
            "resources/read",
            json!({ "contents": [] }),
            json!({ "contents": [], "resultType": "complete", "ttlMs": 0, "cacheScope": "private", "_meta": named }),
        ),
        (
            "completion/complete",
            json!({ "completion": {} }),
            json!({ "completion": {}, "resultType": "complete", "_meta": named }),
        ),
        ("of/an/extension", json!({}), json!({ "resultType": "complete", "_meta": named })),
        // What has no room for it goes as it is.
        ("of/an/extension", json!({ "_meta": 7 }), json!({ "_meta": 7, "resultType": "complete" })),
        ("of/an/extension", json!([1]), json!([1])),
        ("of/an/extension", Value::Null, Value::Null),
    ] {
        let mut table = Table::ready();
        let (exchange, id) = table.calls(&request("c", method, json!({})));
        let did = table.server(exchange, &result(&id, given.clone()));
        assert_eq!(*said(&did), result(&json!("c"), expected), "{method} {given}");
        assert_eq!(table.server(exchange, &result(&id, given)), [], "a second answer is dropped");
    }
}

#[test]
fn a_result_is_spliced_and_line_ends_in_it_are_not_passed() {
    let mut table = Table::ready();
    let (exchange, id) = table.calls(&request(1, "tools/call", json!({})));
    let text =
        format!("{{ \"jsonrpc\":\"2.0\",\n\"id\":{id}, \"result\":{{\"a\":1.00,\n\"b\":1e3}} }}");
    let message = Message::parse(Bytes::from(text)).unwrap();
    let commands = table.machine.handle(Event::FromServer(exchange, message));
    let [Command::Deliver(line)] = &commands[..] else { panic!("{commands:?}") };
    let line = std::str::from_utf8(line).unwrap();
    assert!(line.contains("\"a\":1.00, \"b\":1e3"), "{line}");
    assert!(!line.contains('\n'));
}

/// What no edit names keeps every byte, however large it is.
#[test]
fn large_results_are_not_serialised_again() {
    let odd = odd::members();
    let mut table = Table::ready();
    let (exchange, id) = table.calls(&request("c", "tools/call", json!({})));
    let text = format!(r#"{{"jsonrpc" : "2.0","result":{{ {odd} }},"id":{id}, "x":1.0}}"#);
    let commands = table
        .machine
        .handle(Event::FromServer(exchange, Message::parse(Bytes::from(text)).unwrap()));
    let [Command::Deliver(line)] = &commands[..] else { panic!("it is not one line") };
    let added = r#""resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"old","version":"1.0"}}"#;
    let expected =
        format!(r#"{{"jsonrpc" : "2.0","result":{{ {odd} ,{added}}},"id":"c", "x":1.0}}"#);
    assert!(line == expected.as_bytes(), "its bytes have changed");
}

/// changelog, minor 6.
#[test]
fn errors_have_the_codes_of_their_revision() {
    for (method, given, expected) in [
        ("resources/read", -32_002, -32_602),
        ("tools/call", -32_002, -32_002),
        ("tools/call", -32_601, -32_601),
        ("prompts/get", 7, 7),
    ] {
        let mut table = Table::ready();
        let (exchange, id) = table.calls(&request(1, method, json!({})));
        let did = table.server(exchange, &error(&id, given));
        assert_eq!(code(&did), (json!(1), expected), "{method}");
        assert_eq!(said(&did)["error"]["message"], "no");
    }
}

#[test]
fn what_breaks_upstream_is_an_error_under_the_id_of_the_client() {
    let mut table = Table::ready();
    let (exchange, _) = table.calls(&call(1));
    assert_eq!(code(&table.over(exchange, false)).0, 1);
}

/// patterns/progress, "Behavior Requirements".
#[test]
fn progress_passes_and_unknown_notifications_too() {
    let mut table = Table::ready();
    let params = json!({ "name": "run", "_meta": { "progressToken": 5 } });
    let (exchange, asked) = posted(&table.client(&request(1, "tools/call", params)));
    let ours = asked["params"]["_meta"]["progressToken"].as_u64().unwrap();
    assert_eq!(asked["id"], ours);
    let progress = |token: u64| json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": token, "progress": 2.50 } });
    assert_eq!(*said(&table.server(exchange, &progress(ours))), progress(5));
    let told = json!({ "jsonrpc": "2.0", "method": "notifications/of/an/extension" });
    assert_eq!(*said(&table.server(exchange, &told)), told);
    let told =
        json!({ "jsonrpc": "2.0", "method": "notifications/elicitation/complete", "params": {} });
    assert_eq!(table.server(exchange, &told), [], "changelog, minor 11");
    assert_eq!(table.server(exchange, &progress(ours + 1)), [], "no request has this token");
    table.client(&cancel(1));
    assert_eq!(table.server(exchange, &progress(ours)), [], "nor this one any more");
}

/// patterns/progress, "Progress Flow": tokens are unique across active requests, which one that was
/// answered `input_required` is not.
#[test]
fn a_token_may_be_used_again_while_a_call_with_it_is_held() {
    let mut table = Table::ready();
    let with = |id: u32| {
        request(id, "tools/call", json!({ "name": "run", "_meta": { "progressToken": "t" } }))
    };
    let (held, first) = posted(&table.client(&with(1)));
    let asked = table.asks(held, &elicit("q"));
    let (other, second) = posted(&table.client(&with(2)));
    let progress = |token: &Value| json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": token, "progress": 1 } });
    assert_eq!(table.server(held, &progress(&first["id"])), [], "its request is over");
    assert_eq!(*said(&table.server(other, &progress(&second["id"]))), progress(&json!("t")));
    let mut again = retry(&with(1), 3, &asked, &accept());
    again["params"]["_meta"]["progressToken"] = json!("u");
    table.client(&again);
    assert_eq!(*said(&table.server(held, &progress(&first["id"]))), progress(&json!("u")));
}

/// 2025-03-26 had batches.
#[test]
fn a_batch_of_the_server_is_as_good_as_its_messages() {
    let mut table = Table::ready();
    let (exchange, id) = table.calls(&call(1));
    let told = json!({ "jsonrpc": "2.0", "method": "notifications/x" });
    let did = table.server(exchange, &json!([told, result(&id, json!({}))]));
    assert_eq!(delivered(&did).len(), 2);
    assert_eq!(delivered(&did)[1]["id"], 1);
}

/// server/utilities/logging, "Per-request log level".
#[test]
fn the_level_of_a_request_is_set_before_it_is_sent() {
    let mut table = Table::ready();
    let leveled = |id: u32, level: &str| {
        request(id, "tools/call", json!({ "_meta": { "io.modelcontextprotocol/logLevel": level } }))
    };
    let did = table.client(&leveled(1, "warning"));
    let [Did::Post(setting, set)] = &did[..] else { panic!("{did:?}") };
    assert_eq!(
        (&set["method"], &set["params"]),
        (&json!("logging/setLevel"), &json!({ "level": "warning" }))
    );
    let did = table.server(*setting, &result(&set["id"], json!({})));
    let (first, asked) = posted(&did);
    assert_eq!(asked["method"], "tools/call");
    // The same level again is not said again; a request that wants none is not held up.
    assert_eq!(posted(&table.client(&leveled(2, "warning"))).1["method"], "tools/call");
    let (silent, _) = table.calls(&call(3));
    // More is.
    let did = table.client(&leveled(4, "debug"));
    let (setting, set) = posted(&did);
    assert_eq!(set["params"]["level"], "debug");
    let did = table.server(setting, &error(&set["id"], -32_602));
    let (fourth, _) = posted(&did);

    let log = |level: &str| json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": level, "data": 1 } });
    for (exchange, level, passes) in [
        (first, "error", true),
        (first, "warning", true),
        (first, "debug", false),
        (fourth, "debug", true),
        (silent, "emergency", false),
        (table.stream, "debug", true),
    ] {
        let did = table.server(exchange, &log(level));
        assert_eq!(delivered(&did).len(), usize::from(passes), "{level}");
    }
    table.client(&cancel(4));
    assert_eq!(table.server(fourth, &log("emergency")), [], "of a request that is over");
}

#[test]
fn a_session_is_recovered_and_told_what_it_has_lost() {
    let mut table = Table::ready();
    let params = json!({ "_meta": { "io.modelcontextprotocol/logLevel": "info" } });
    let did = table.client(&request(1, "tools/call", params));
    let (setting, set) = posted(&did);
    let (exchange, _) = posted(&table.server(setting, &result(&set["id"], json!({}))));
    let did = table.on(Event::Ended(exchange, refused(404), Position::default()));
    let did = table.stands(&did);
    let said: Vec<_> = posts(&did).iter().map(|said| said["method"].clone()).collect();
    assert_eq!(said, ["tools/call", "logging/setLevel"], "{did:?}");
}
