//! Subscriptions, by clauses of patterns/subscriptions.

use super::*;

fn listen(id: impl Into<Value>, filter: Value) -> Value {
    request(id, "subscriptions/listen", json!({ "notifications": filter }))
}

fn changed(list: &str) -> Value {
    json!({ "jsonrpc": "2.0", "method": format!("notifications/{list}/list_changed") })
}

fn updated(uri: &str) -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": uri } })
}

/// Answers all that was posted.
fn granted(table: &mut Table, did: &[Did]) -> Vec<Did> {
    let mut all = Vec::new();
    for did in did {
        if let Did::Post(exchange, said) = did {
            all.extend(table.server(*exchange, &result(&said["id"], json!({}))));
            all.extend(table.over(*exchange, false));
        }
    }
    all
}

fn methods(did: &[Did]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    posts(did).iter().map(|it| (text(&it["method"]), text(&it["params"]["uri"]))).collect()
}

fn did(method: &str, uri: &str) -> (String, String) {
    (format!("resources/{method}"), uri.to_owned())
}

/// "Acknowledgment": first, and of what the server has alone.
#[test]
fn what_is_honoured_is_acknowledged_first() {
    let mut table = Table::ready();
    let all = json!({ "toolsListChanged": true, "promptsListChanged": true,
        "resourcesListChanged": true, "resourceSubscriptions": ["a", "b", "a"] });
    let asked = table.client(&listen("s", all));
    assert_eq!(methods(&asked), [did("subscribe", "a"), did("subscribe", "b")]);
    let stream = table.stream;
    assert_eq!(table.server(stream, &changed("tools")), [], "nothing before it");
    let [Did::Post(a, first), Did::Post(b, second)] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(table.server(*a, &result(&first["id"], json!({}))), []);
    let done = table.server(*b, &error(&second["id"], -32_002));
    assert_eq!(
        *said(&done),
        json!({ "jsonrpc": "2.0",
        "method": "notifications/subscriptions/acknowledged",
        "params": { "_meta": { "io.modelcontextprotocol/subscriptionId": "s" },
            "notifications": { "toolsListChanged": true, "resourceSubscriptions": ["a"] } } })
    );
    let done = table.server(stream, &changed("tools"));
    assert_eq!(
        *said(&done),
        json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed",
        "params": { "_meta": { "io.modelcontextprotocol/subscriptionId": "s" } } })
    );
}

#[test]
fn a_filter_that_is_none_is_refused() {
    let mut table = Table::ready();
    for params in [
        json!({}),
        json!({ "notifications": 7 }),
        json!({ "notifications": { "toolsListChanged": "yes" } }),
    ] {
        let done = table.client(&request(1, "subscriptions/listen", params));
        assert_eq!(code(&done), (json!(1), -32_602));
    }
}

/// "Notification Filter" and "Multiple Concurrent Subscriptions".
#[test]
fn each_subscription_gets_what_it_has_asked_for() {
    let mut table = Table::ready();
    let asked = table.client(&listen(1, json!({ "toolsListChanged": true })));
    assert_eq!(said(&asked)["params"]["notifications"], json!({ "toolsListChanged": true }));
    let asked =
        table.client(&listen(2, json!({ "resourceSubscriptions": ["file:///a", "x:/d/"] })));
    granted(&mut table, &asked);
    table.client(&listen(3, json!({ "toolsListChanged": true })));
    let stream = table.stream;
    for (told, expected) in [
        (changed("tools"), vec![1, 3]),
        (changed("prompts"), vec![]),
        (changed("resources"), vec![]),
        (updated("file:///a"), vec![2]),
        // "This might be a sub-resource of the one that the client actually subscribed to."
        (updated("file:///a#part"), vec![2]),
        (updated("file:///a/b"), vec![2]),
        (updated("file:///ab"), vec![]),
        (updated("x:/d/e"), vec![2]),
        (
            json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": [] }),
            vec![],
        ),
    ] {
        let done = table.server(stream, &told);
        let ids: Vec<_> = delivered(&done)
            .iter()
            .map(|it| {
                it["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"].as_u64().unwrap()
            })
            .collect();
        assert_eq!(ids, expected, "{told}");
    }
}

/// Watched once for all, and no longer than anybody wants.
#[test]
fn resources_are_watched_for_as_long_as_they_are_wanted() {
    let mut table = Table::ready();
    let asked = table.client(&listen(1, json!({ "resourceSubscriptions": ["a", "b"] })));
    // The second waits for the same answer.
    assert_eq!(table.client(&listen(2, json!({ "resourceSubscriptions": ["a"] }))), []);
    let done = granted(&mut table, &asked);
    assert_eq!(delivered(&done).len(), 2, "both begin");
    assert_eq!(
        delivered(&table.client(&listen(3, json!({ "resourceSubscriptions": ["a"] })))).len(),
        1
    );
    assert_eq!(methods(&table.client(&cancel(1))), [did("unsubscribe", "b")]);
    assert_eq!(methods(&table.client(&cancel(2))), []);
    let left = table.client(&cancel(3));
    assert_eq!(methods(&left), [did("unsubscribe", "a")]);
    // Neither overtakes the other.
    assert_eq!(table.client(&listen(4, json!({ "resourceSubscriptions": ["a"] }))), []);
    let asked = granted(&mut table, &left);
    assert_eq!(methods(&asked), [did("subscribe", "a")]);
    // Cancelled before the server has answered: undone after that.
    assert_eq!(table.client(&cancel(4)), []);
    let left = granted(&mut table, &asked);
    assert_eq!(methods(&left), [did("unsubscribe", "a")]);
    assert_eq!(granted(&mut table, &left), []);
    let asked = table.client(&listen(5, json!({ "resourceSubscriptions": ["a"] })));
    assert_eq!(methods(&asked), [did("subscribe", "a")], "as if nobody had wanted it before");
}

#[test]
fn a_refused_resource_is_not_unsubscribed_from() {
    let mut table = Table::ready();
    let asked = table.client(&listen(1, json!({ "resourceSubscriptions": ["a"] })));
    let (exchange, sent) = posted(&asked);
    let done = table.server(exchange, &error(&sent["id"], -32_002));
    assert_eq!(said(&done)["params"]["notifications"], json!({}));
    assert_eq!(table.client(&cancel(1)), []);
}

/// "Graceful Closure".
#[test]
fn subscriptions_end_with_the_client() {
    let mut table = Table::ready();
    table.client(&listen(1, json!({ "toolsListChanged": true })));
    let done = table.on(Event::ClientClosed);
    assert_eq!(
        done[0],
        Did::Deliver(result(
            &json!(1),
            json!({ "resultType": "complete",
        "_meta": { "io.modelcontextprotocol/subscriptionId": 1 } })
        ))
    );
    assert_eq!(done.last(), Some(&Did::Finished));
}

#[test]
fn resources_are_watched_again_in_the_session_that_replaces_a_lost_one() {
    let mut table = Table::ready();
    let asked = table
        .client(&listen(1, json!({ "toolsListChanged": true, "resourceSubscriptions": ["a"] })));
    granted(&mut table, &asked);
    let (exchange, _) = table.calls(&call(2));
    let lost = table.on(Event::Ended(exchange, refused(404), Position::default()));
    let done = table.stands(&lost);
    let told: Vec<_> = delivered(&done).iter().map(|it| it["method"].clone()).collect();
    assert_eq!(told, ["notifications/tools/list_changed"], "to the subscription alone");
    assert_eq!(delivered(&done)[0]["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 1);
    assert_eq!(methods(&done)[1..], [did("subscribe", "a")]);
    let done = table.server(table.stream, &updated("a"));
    assert_eq!(delivered(&done).len(), 1);
}

#[test]
fn a_subscription_waits_for_its_session_and_can_be_cancelled_there() {
    let mut table = Table::new();
    let did = table.client(&listen(1, json!({ "toolsListChanged": true })));
    table.client(&listen(2, json!({ "toolsListChanged": true })));
    assert_eq!(table.client(&cancel(2)), []);
    let did = table.stands(&did);
    let begun: Vec<_> = delivered(&did);
    assert_eq!(begun.len(), 1);
    assert_eq!(begun[0]["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 1);
}

#[test]
fn the_resources_that_are_watched_are_bounded() {
    let mut table = Table::ready();
    let uris: Vec<String> = (0..300).map(|n| format!("x:{n}")).collect();
    let asked = table.client(&listen(1, json!({ "resourceSubscriptions": uris })));
    assert_eq!(posts(&asked).len(), 256);
    let begun = granted(&mut table, &asked);
    let honoured = &said(&begun)["params"]["notifications"]["resourceSubscriptions"];
    assert_eq!(*honoured, json!(uris[..256]));
}
