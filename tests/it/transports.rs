//! The other two ways to a server: HTTP+SSE of 2024-11-05, and WebSocket.

mod http_sse;
mod websocket;

use serde_json::{Value, json};

use crate::support::{
    duplex::{Duplex, Said},
    jsonrpc::Client,
    pki::Pki,
};

/// A client in a session.
#[track_caller]
fn connected(pki: &Pki, server: &Duplex) -> Client {
    let mut client = Client::start(&server.bridge(pki));
    client.handshake();
    server.wait_for("initialized", |message| message["method"] == "notifications/initialized");
    client
}

/// What both must do.
fn a_session_with_all_that_is_in_it(pki: &Pki, server: &Duplex) {
    let mut client = connected(pki, server);
    assert_eq!(client.tool("echo", json!({"a": "é"})), json!({"a": "é"}));
    // Progress comes before the answer.
    let id = client.call_with_progress("progress", json!({}));
    client.result(&id);
    let steps =
        client.received().iter().filter(|m| m["method"] == "notifications/progress").count();
    assert_eq!(steps, 2);
    (0..2).for_each(|_| drop(client.notification("notifications/progress")));
    // A question of the server's.
    let id = client.call("ask", json!({}));
    let question = client.server_request("elicitation/create");
    let answer = json!({"action": "accept", "content": {"it": "this"}});
    client.respond(&question, answer.clone());
    assert_eq!(client.result(&id)["structuredContent"], answer);
    // A result of eight megabytes, and an argument of one.
    let id = client.call("big", json!({"bytes": 8 << 20}));
    assert_eq!(client.result(&id)["content"][0]["text"].as_str().unwrap().len(), 8 << 20);
    let argument = json!({"a": "y".repeat(1 << 20)});
    assert_eq!(client.tool("echo", argument.clone()), argument);
    // Cancelled: the server is told, and no answer is owed.
    let id = client.call("hold", json!({}));
    client.notify("notifications/cancelled", json!({"requestId": id}));
    server.wait_for("cancelled", |message| message["method"] == "notifications/cancelled");
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert_eq!(server.channels(), 1);
}

/// What both must do about a channel that is lost in mid-call.
fn a_lost_channel_is_replaced(pki: &Pki, server: &Duplex, how: Said) {
    let mut client = connected(pki, server);
    let held = client.call("hold", json!({}));
    server.wait_for_call("hold");
    server.lose(how);
    let error = client.error(&held);
    assert!(error["message"].as_str().unwrap().contains("outcome unknown"), "{error}");
    // The client need not do anything: its handshake is repeated, and it is told.
    client.notification("notifications/tools/list_changed");
    client.notification("notifications/prompts/list_changed");
    assert_eq!(client.tool("echo", json!({"n": 1})), json!({"n": 1}));
    let [(0, first), (1, second)] = &server.messages("initialize")[..] else {
        panic!("two sessions")
    };
    assert_eq!(first["params"], second["params"]);
    assert!(second["id"].is_string(), "an id of our own: {second}");
    assert_eq!(server.messages("notifications/initialized").len(), 2);
    let held = server.messages("tools/call");
    assert_eq!(held.iter().filter(|(_, call)| call["params"]["name"] == "hold").count(), 1);
    assert_eq!(client.finish(), [] as [Value; 0]);
}
