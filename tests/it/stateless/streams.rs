//! Streams: progress, what cancels, subscriptions, questions in results.

use serde_json::{Value, json};

use super::{both, call, stamped};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    script::{Ending, Fault, Rule},
    upstream::{Seen, Upstream},
};

#[test]
fn progress_comes_before_the_result() {
    let pki = Pki::new();
    let (_upstream, mut client) = both(&pki);
    let params = json!({"name": "progress", "arguments": {}, "_meta": {"progressToken": "p"}});
    let id = client.request("tools/call", stamped(params));
    client.result(&id);
    let steps: Vec<Value> = client.unclaimed();
    assert_eq!(steps.len(), 3, "{steps:?}");
    assert!(steps.iter().all(|step| step["params"]["progressToken"] == "p"));
}

#[test]
fn cancelling_closes_the_stream_and_says_nothing_more() {
    let pki = Pki::new();
    let (upstream, mut client) = both(&pki);
    let id = call(&mut client, "progress", json!({"gate": "never"}));
    upstream.wait_for_method("tools/call");
    client.notify("notifications/cancelled", json!({"requestId": id}));
    upstream.wait_until_left(&last(&upstream));
    let id = call(&mut client, "echo", json!({}));
    client.result(&id);
    assert!(upstream.posts("notifications/cancelled").is_empty());
    assert_eq!(client.finish(), [] as [Value; 0]);
}

/// The request that came last.
fn last(upstream: &Upstream) -> Seen {
    upstream.seen().pop().unwrap()
}

fn subscribed(upstream: &Upstream, client: &mut Client) -> Value {
    let filter = json!({"toolsListChanged": true, "resourceSubscriptions": ["file:///a"]});
    let id = client.request("subscriptions/listen", stamped(json!({"notifications": filter})));
    client.notification("notifications/subscriptions/acknowledged");
    assert_eq!(upstream.modern().publish("notifications/prompts/list_changed", &Value::Null), 0);
    id
}

#[test]
fn a_subscription_lives_until_it_is_cancelled() {
    let pki = Pki::new();
    let (upstream, mut client) = both(&pki);
    let id = subscribed(&upstream, &mut client);
    upstream.modern().publish("notifications/tools/list_changed", &Value::Null);
    upstream.modern().publish("notifications/resources/updated", &json!({"uri": "file:///a"}));
    let changed = client.notification("notifications/tools/list_changed");
    assert_eq!(changed["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], id);
    client.notification("notifications/resources/updated");
    client.notify("notifications/cancelled", json!({"requestId": id}));
    upstream.wait_until_left(&last(&upstream));
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_subscription_that_the_server_ends_is_answered() {
    let pki = Pki::new();
    let (upstream, mut client) = both(&pki);
    let id = subscribed(&upstream, &mut client);
    upstream.modern().end_subscriptions(true);
    assert_eq!(client.result(&id)["resultType"], "complete");
    let id = subscribed(&upstream, &mut client);
    upstream.modern().end_subscriptions(false);
    assert!(client.error(&id)["message"].as_str().unwrap().contains("subscribe again"));
    let id = subscribed(&upstream, &mut client);
    upstream.drop_connections();
    assert!(client.error(&id)["message"].as_str().unwrap().contains("subscribe again"));
}

#[test]
fn an_open_subscription_does_not_hold_up_the_end() {
    let pki = Pki::new();
    let (upstream, mut client) = both(&pki);
    subscribed(&upstream, &mut client);
    assert_eq!(client.finish(), [] as [Value; 0]);
    upstream.wait_until_left(&last(&upstream));
}

#[test]
fn what_the_server_wants_to_know_passes_in_results() {
    let pki = Pki::new();
    let (_upstream, mut client) = both(&pki);
    let requests = json!({"name": {"method": "elicitation/create", "params": {"message": "?"}}});
    let id = call(&mut client, "ask", json!({"requests": requests}));
    let wanted = client.result(&id);
    assert_eq!(wanted["resultType"], "input_required");
    assert_eq!(wanted["inputRequests"], requests);
    let answers = json!({"name": {"action": "accept", "content": {}}});
    let id = client.request(
        "tools/call",
        stamped(json!({
            "name": "ask",
            "arguments": {"requests": requests},
            "inputResponses": answers,
            "requestState": wanted["requestState"],
        })),
    );
    assert_eq!(client.result(&id)["structuredContent"], answers);
}

#[test]
fn a_call_whose_stream_breaks_is_answered_and_not_repeated() {
    let pki = Pki::new();
    let (upstream, mut client) = both(&pki);
    upstream.script(Rule::call("count"), Fault::RunThenHangup(Ending::Reset));
    let id = call(&mut client, "count", json!({"n": 1}));
    let error = client.error(&id);
    assert!(error["message"].as_str().unwrap().contains("outcome unknown"), "{error}");
    assert_eq!(upstream.record().ran, [json!(1)]);
}
