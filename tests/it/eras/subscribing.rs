//! What a server tells of itself: 2026-07-28 has one long request for all that a client wants to hear,
//! what was before a stream of the session and requests for single resources.

use serde_json::{Value, json};

use super::{before_legacy, legacy_client, modern_client, stamped};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    script::{Fault, Rule},
    upstream::{Seen, Upstream},
};

const TOOLS: &str = "notifications/tools/list_changed";
const PROMPTS: &str = "notifications/prompts/list_changed";
const UPDATED: &str = "notifications/resources/updated";

fn lists() -> Value {
    json!({
        "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true,
    })
}

fn with(uris: &[&str]) -> Value {
    let mut wanted = lists();
    wanted["resourceSubscriptions"] = json!(uris);
    wanted
}

/// Waits for the `count`th subscription at the modern server; its request.
#[track_caller]
fn listening(upstream: &Upstream, count: usize) -> Seen {
    upstream.wait("a subscription", |record| {
        let listens = record.requests.iter().filter(|seen| seen.is("subscriptions/listen"));
        let listens: Vec<_> = listens.cloned().collect();
        let begun = upstream.modern().wanted().len() >= count && listens.len() >= count;
        begun.then(|| listens[count - 1].clone())
    })
}

/// subscriptions, "Notification Filter": what the client may be told is subscribed to for it.
#[test]
fn a_legacy_client_is_told_of_lists_that_change() {
    let pki = Pki::new();
    let (upstream, mut client) = legacy_client(&pki);
    listening(&upstream, 1);
    assert_eq!(upstream.modern().wanted(), [lists()]);
    upstream.modern().publish(TOOLS, &Value::Null);
    let changed = client.notification(TOOLS);
    assert_eq!(changed.get("params").unwrap_or(&json!({})), &json!({}), "it is no subscriber");
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_legacy_client_subscribes_to_resources() {
    let pki = Pki::new();
    let (upstream, mut client) = legacy_client(&pki);
    let first = listening(&upstream, 1);
    assert_eq!(client.ask("resources/subscribe", json!({"uri": "file:///a"})), json!({}));
    // One subscription holds all, and the one before it ends once it stands.
    let second = listening(&upstream, 2);
    upstream.wait_until_left(&first);
    assert_eq!(upstream.modern().wanted()[1], with(&["file:///a"]));
    upstream.modern().publish(UPDATED, &json!({"uri": "file:///a"}));
    assert_eq!(client.notification(UPDATED)["params"], json!({"uri": "file:///a"}));
    assert_eq!(client.ask("resources/subscribe", json!({"uri": "file:///b"})), json!({}));
    listening(&upstream, 3);
    upstream.wait_until_left(&second);
    assert_eq!(upstream.modern().wanted()[2], with(&["file:///a", "file:///b"]));
    assert_eq!(client.ask("resources/unsubscribe", json!({"uri": "file:///a"})), json!({}));
    listening(&upstream, 4);
    assert_eq!(upstream.modern().wanted()[3], with(&["file:///b"]));
    for method in ["resources/subscribe", "resources/unsubscribe"] {
        assert!(upstream.posts(method).is_empty(), "{method}");
    }
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_subscription_that_breaks_or_ends_is_opened_again() {
    let pki = Pki::new();
    let (upstream, mut client) = legacy_client(&pki);
    listening(&upstream, 1);
    upstream.modern().end_subscriptions(false);
    upstream.wait_for(|seen| listens(seen) == 2);
    listening(&upstream, 1);
    upstream.modern().publish(PROMPTS, &Value::Null);
    client.notification(PROMPTS);
    upstream.modern().end_subscriptions(true);
    upstream.wait_for(|seen| listens(seen) == 3);
    listening(&upstream, 1);
    upstream.modern().publish(TOOLS, &Value::Null);
    client.notification(TOOLS);
    client.process.close_stdin();
    let rest = client.finish();
    // What may have changed meanwhile is told after the second time in a row.
    let lists = |message: &Value| message["method"].as_str().unwrap().ends_with("/list_changed");
    assert!(rest.iter().all(lists), "{rest:?}");
}

fn listens(seen: &[Seen]) -> usize {
    seen.iter().filter(|seen| seen.is("subscriptions/listen")).count()
}

/// A modern client's subscription, once it is acknowledged.
#[track_caller]
fn subscribed(client: &mut Client, wanted: &Value) -> Value {
    let id = client.request("subscriptions/listen", stamped(json!({"notifications": wanted})));
    let acknowledged = client.notification("notifications/subscriptions/acknowledged");
    assert_eq!(acknowledged["params"], json!({"_meta": named(&id), "notifications": wanted}));
    id
}

/// subscriptions, "Receiving Notifications".
fn named(id: &Value) -> Value {
    json!({"io.modelcontextprotocol/subscriptionId": id})
}

#[test]
fn a_modern_client_listens_to_the_stream_of_a_session() {
    let pki = Pki::new();
    let (upstream, mut client) = modern_client(&pki);
    let id = subscribed(&mut client, &json!({"toolsListChanged": true}));
    let other = json!({"toolsListChanged": true, "resourceSubscriptions": ["file:///a"]});
    let other = subscribed(&mut client, &other);
    assert_eq!(upstream.posts("resources/subscribe").len(), 1);
    assert!(upstream.posts("subscriptions/listen").is_empty());
    upstream.wait_for_listener();
    upstream.notify(TOOLS, &Value::Null);
    for _ in 0..2 {
        let changed = client.notification(TOOLS);
        let meta = &changed["params"]["_meta"];
        assert!(*meta == named(&id) || *meta == named(&other), "{changed}");
    }
    upstream.notify(PROMPTS, &Value::Null);
    upstream.notify(UPDATED, &json!({"uri": "file:///a"}));
    let updated = client.notification(UPDATED);
    assert_eq!(updated["params"], json!({"uri": "file:///a", "_meta": named(&other)}));
    client.notify("notifications/cancelled", json!({"requestId": other}));
    let unsubscribed = upstream.wait_for_method("resources/unsubscribe");
    assert_eq!(unsubscribed.json()["params"]["uri"], "file:///a");
    upstream.notify(TOOLS, &Value::Null);
    assert_eq!(client.notification(TOOLS)["params"]["_meta"], named(&id));
    let closed = client.received().len();
    client.process.close_stdin();
    // "Graceful Closure": what is still listened to is answered.
    assert_eq!(client.result(&id), json!({"resultType": "complete", "_meta": named(&id)}));
    assert_eq!(client.received().len(), closed + 1);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

/// There is no stream to hear it on, and that is no reason not to answer.
#[test]
fn a_modern_client_subscribes_where_a_session_has_no_stream() {
    let pki = Pki::new();
    let (upstream, mut client) = before_legacy(&pki);
    upstream.script(Rule::get().always(), Fault::status(405));
    let id = subscribed(&mut client, &json!({"toolsListChanged": true}));
    assert_eq!(upstream.notify(TOOLS, &Value::Null), 0);
    client.process.close_stdin();
    client.result(&id);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_modern_clients_subscriptions_outlive_the_session() {
    let pki = Pki::new();
    let (upstream, mut client) = modern_client(&pki);
    let wanted = json!({"toolsListChanged": true, "resourceSubscriptions": ["file:///a"]});
    let id = subscribed(&mut client, &wanted);
    upstream.wait_for_listener();
    upstream.forget_sessions();
    upstream.wait_for(|seen| seen.iter().filter(|it| it.is("resources/subscribe")).count() == 2);
    upstream.wait_for_listener();
    upstream.notify(UPDATED, &json!({"uri": "file:///a"}));
    assert_eq!(client.notification(UPDATED)["params"]["_meta"], named(&id));
    assert_eq!(upstream.posts("initialize").len(), 2);
    client.process.close_stdin();
    client.result(&id);
    let lists = |message: &Value| message["params"]["_meta"] == named(&id);
    let rest = client.finish();
    assert!(rest.iter().all(lists), "{rest:?}");
}
