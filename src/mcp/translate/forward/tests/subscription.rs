//! 2026-07-28 subscriptions, clause by clause.

use super::*;

const OFFER: &str = r#"{"tools":{"listChanged":true},"prompts":{},"resources":{"subscribe":true,"listChanged":true}}"#;
const SECOND: Duration = Duration::from_secs(1);

fn subscribe(id: u32, uri: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"resources/subscribe","params":{{"uri":"{uri}"}}}}"#
    )
}

fn unsubscribe(id: u32, uri: &str) -> String {
    subscribe(id, uri).replace("subscribe", "unsubscribe")
}

fn acknowledged(body: &Value) -> String {
    let notifications = &body["params"]["notifications"];
    let id = &body["id"];
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}},"notifications":{notifications}}}}}"#
    )
}

fn ok(id: u32) -> Did {
    Did::Deliver(result(&json!(id), "{}"))
}

/// A table whose client has initialized, with its subscription open and acknowledged.
fn listening() -> (Table, ExchangeId, Value) {
    let mut table = Table::initialized(OFFER);
    let (exchange, body) = posted(&table.client(INITIALIZED));
    assert_eq!(table.server(exchange, &acknowledged(&body)), []);
    (table, exchange, body)
}

/// The pause and the timer of a subscription that is opened again, and that nothing else is done.
fn paused(did: &[Did]) -> (Duration, Timer) {
    match did {
        [Did::After(pause, timer)] => (*pause, *timer),
        _ => panic!("{did:?}"),
    }
}

/// "Opening a Stream", "Receiving Notifications".
#[test]
fn lists_that_change_are_told_without_their_subscription() {
    let mut table = Table::initialized(OFFER);
    let did = table.client(INITIALIZED);
    let (exchange, body) = posted(&did);
    assert!(matches!(did[1], Did::After(..)), "it has its time to be acknowledged: {did:?}");
    assert_eq!(body["method"], "subscriptions/listen");
    let wanted = json!({"toolsListChanged": true, "resourcesListChanged": true});
    assert_eq!(body["params"]["notifications"], wanted);
    assert_eq!(body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert_eq!(table.server(exchange, &acknowledged(&body)), []);
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"x"}}}"#;
    let plain = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{}}"#;
    assert_eq!(said(&table.server(exchange, changed)), plain);
    // cancellation, "Behavior Requirements" 2: it is ours that ends.
    let cancelled = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{}}"#;
    assert_eq!(table.server(exchange, cancelled), []);
    assert_eq!(table.client(INITIALIZED), [], "once is enough");
}

#[test]
fn a_server_that_offers_nothing_is_not_listened_to() {
    let mut table = Table::initialized(r#"{"tools":{},"resources":{"subscribe":false}}"#);
    assert_eq!(table.client(INITIALIZED), []);
    let did = table.client(&subscribe(1, "a:b"));
    assert!(said(&did).contains("-32601"), "{did:?}");
    assert_eq!(table.client(&unsubscribe(2, "a:b")), [ok(2)]);
    assert!(said(&table.client(&request(3, "resources/subscribe"))).contains("-32602"));
}

/// A client that never says that it has initialized is told all the same.
#[test]
fn the_first_request_begins_the_subscription_too() {
    let mut table = Table::initialized(OFFER);
    let did = table.client(&call(1));
    let methods: Vec<&Value> = did
        .iter()
        .filter_map(|did| match did {
            Did::Post(_, body) => Some(&body["method"]),
            _ => None,
        })
        .collect();
    assert_eq!(methods, ["subscriptions/listen", "tools/call"]);
}

/// changelog, major 4: the new stream stands before the old one is closed.
#[test]
fn a_resource_is_subscribed_to_by_another_stream_that_replaces_the_first() {
    let (mut table, first, _) = listening();
    let (second, body) = posted(&table.client(&subscribe(1, "a:b")));
    assert_eq!(
        body["params"]["notifications"],
        json!({"toolsListChanged": true, "resourcesListChanged": true, "resourceSubscriptions": ["a:b"]})
    );
    // Until then the first one tells.
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    assert_eq!(said(&table.server(first, changed)), changed);
    assert_eq!(table.server(second, &acknowledged(&body)), [Did::Cancel(first), ok(1)]);
    let updated = r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":1},"uri":"a:b"}}"#;
    let plain =
        r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:b"}}"#;
    assert_eq!(said(&table.server(second, updated)), plain);
    assert_eq!(table.client(&subscribe(2, "a:b")), [ok(2)], "it is subscribed to");
    // Unsubscribing is the same the other way.
    let did = table.client(&unsubscribe(3, "a:b"));
    assert_eq!(did[0], ok(3));
    let (third, body) = posted(&did);
    assert_eq!(body["params"]["notifications"].get("resourceSubscriptions"), None);
    assert_eq!(table.server(third, &acknowledged(&body)), [Did::Cancel(second)]);
}

/// Many wishes at once are two streams, not as many.
#[test]
fn wishes_that_come_while_a_stream_is_opened_wait_for_the_next() {
    let mut table = Table::initialized(r#"{"resources":{"subscribe":true}}"#);
    let (first, body) = posted(&table.client(&subscribe(1, "a:1")));
    assert_eq!(table.client(&subscribe(2, "a:2")), []);
    assert_eq!(table.client(&subscribe(3, "a:3")), []);
    assert_eq!(table.client(&unsubscribe(4, "a:2")), [ok(2), ok(4)]);
    let did = table.server(first, &acknowledged(&body));
    assert_eq!(did[0], ok(1));
    let (second, body) = posted(&did);
    assert_eq!(body["params"]["notifications"], json!({"resourceSubscriptions": ["a:1", "a:3"]}));
    assert_eq!(table.server(second, &acknowledged(&body)), [Did::Cancel(first), ok(3)]);
    // With nothing left there is no stream.
    table.client(&unsubscribe(5, "a:1"));
    let mut table = Table::initialized(r#"{"resources":{"subscribe":true}}"#);
    let (only, body) = posted(&table.client(&subscribe(1, "a:1")));
    table.server(only, &acknowledged(&body));
    assert_eq!(table.client(&unsubscribe(2, "a:1")), [ok(2), Did::Cancel(only)]);
}

/// "The client SHOULD check the acknowledged filter ... and handle any unsupported types gracefully".
#[test]
fn what_is_not_acknowledged_is_not_subscribed_to() {
    let mut table = Table::initialized(r#"{"resources":{"subscribe":true}}"#);
    let (first, _) = posted(&table.client(&subscribe(1, "a:b")));
    assert_eq!(table.client(&subscribe(2, "c:d")), []);
    let partly = |given: Value| acknowledged(&json!({"id": 1, "params": {"notifications": given}}));
    let did = table.server(first, &partly(json!({})));
    let [Did::Deliver(refusal), Did::Post(second, body), Did::After(..)] = &did[..] else {
        panic!("{did:?}")
    };
    assert!(refusal.contains(r#""id":1"#) && refusal.contains("-32602"), "{refusal}");
    assert_eq!(
        body["params"]["notifications"],
        json!({"resourceSubscriptions": ["c:d"]}),
        "the one that was refused is wanted no more"
    );
    // The server has written it in its own way.
    let given = json!({"resourceSubscriptions": ["c:d/"]});
    assert_eq!(table.server(*second, &partly(given)), [Did::Cancel(first), ok(2)]);
    // Nor does a server have for ever that says nothing at all.
    let mut table = Table::initialized(r#"{"resources":{"subscribe":true}}"#);
    let did = table.client(&subscribe(1, "a:b"));
    let Some(Did::After(_, timer)) = did.last() else { panic!("{did:?}") };
    assert_eq!(table.on(Event::Elapsed(*timer)), [ok(1)]);
}

/// What was given up and is wanted again may be told by a stream that still stands.
#[test]
fn a_stream_that_fails_leaves_nobody_waiting_for_what_the_one_before_it_tells() {
    let mut table = Table::initialized(r#"{"resources":{"subscribe":true}}"#);
    let (first, body) = posted(&table.client(&subscribe(1, "a:1")));
    assert_eq!(table.server(first, &acknowledged(&body)), [ok(1)]);
    let (second, body) = posted(&table.client(&subscribe(2, "a:2")));
    assert_eq!(table.server(second, &acknowledged(&body)), [Did::Cancel(first), ok(2)]);
    let (third, _) = posted(&table.client(&unsubscribe(3, "a:2")));
    assert_eq!(table.client(&subscribe(4, "a:2")), []);
    assert_eq!(table.end(third, End::Complete { accepted: false }), [ok(4)]);
}

/// "A transport that closes without it indicates an unexpected disconnect"; "Graceful Closure".
#[test]
fn a_stream_that_ends_is_opened_again_with_growing_pauses() {
    let (mut table, mut exchange, mut body) = listening();
    for (round, seconds) in [1, 2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
        let did = match round % 3 {
            0 => table.end(exchange, End::Complete { accepted: false }),
            1 => table.server(exchange, &result(&body["id"], r#"{"resultType":"complete"}"#)),
            _ => table.end(exchange, refused(503, "")),
        };
        let (pause, timer) = paused(&did);
        assert_eq!(pause, SECOND * seconds, "{round}");
        (exchange, body) = posted(&table.on(Event::Elapsed(timer)));
        assert_eq!(table.on(Event::Elapsed(timer)), [], "a timer is good for once");
    }
    // After an outage the client is told that all may have changed.
    let did = table.server(exchange, &acknowledged(&body));
    let names: Vec<bool> = did
        .iter()
        .map(|did| matches!(did, Did::Deliver(line) if line.contains("/list_changed")))
        .collect();
    assert_eq!(names, [true, true], "{did:?}");
}

#[test]
fn a_stream_that_stands_for_a_while_forgives_what_was_before() {
    let (mut table, exchange, _) = listening();
    let (_, timer) = paused(&table.end(exchange, End::Complete { accepted: false }));
    let did = table.on(Event::Elapsed(timer));
    let ((exchange, body), Did::After(_, steady)) = (posted(&did), &did[1]) else { panic!() };
    assert_eq!(table.server(exchange, &acknowledged(&body)), [], "one break is no outage");
    assert_eq!(table.on(Event::Elapsed(*steady)), []);
    let (pause, _) = paused(&table.end(exchange, End::Complete { accepted: false }));
    assert_eq!(pause, SECOND);
}

#[test]
fn a_server_that_takes_no_subscription_on_is_left_in_peace() {
    let mut table = Table::initialized(OFFER);
    let (exchange, body) = posted(&table.client(INITIALIZED));
    let did = table.end(exchange, refused(404, &error(&body["id"], -32_601, "{}")));
    assert_eq!(did, [], "it does not know what that is");

    let mut table = Table::initialized(OFFER);
    let mut exchange = posted(&table.client(INITIALIZED)).0;
    for _ in 0..5 {
        let (_, timer) = paused(&table.end(exchange, refused(503, "")));
        exchange = posted(&table.on(Event::Elapsed(timer))).0;
    }
    assert_eq!(table.end(exchange, refused(503, "")), []);
}

/// Promise 1: a subscribe request that fails is told so, and the others stand.
#[test]
fn a_subscription_that_is_refused_is_the_answer_of_its_request() {
    let (mut table, _, _) = listening();
    let (exchange, body) = posted(&table.client(&subscribe(1, "a:bad")));
    assert_eq!(table.client(&subscribe(2, "a:good")), []);
    let did = table.end(exchange, refused(400, &error(&body["id"], -32_602, "{}")));
    assert!(
        matches!(&did[0], Did::Deliver(line) if *line == error(&json!(1), -32_602, "{}")),
        "{did:?}"
    );
    let (exchange, body) = posted(&did);
    let wanted = &body["params"]["notifications"]["resourceSubscriptions"];
    assert_eq!(wanted, &json!(["a:good"]));
    assert!(table.server(exchange, &acknowledged(&body)).contains(&ok(2)));

    let (mut table, standing, _) = listening();
    let (exchange, body) = posted(&table.client(&subscribe(1, "a:b")));
    let did = table.server(exchange, &result(&body["id"], "{}"));
    assert!(said(&did).contains("ended the subscription at once"), "{did:?}");
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    assert_eq!(said(&table.server(standing, changed)), changed, "the first one stands");
}

#[test]
fn a_cancelled_subscribe_request_has_no_answer() {
    let mut table = Table::initialized(OFFER);
    let (exchange, body) = posted(&table.client(&subscribe(1, "a:b")));
    assert_eq!(table.cancels(1), []);
    assert_eq!(table.server(exchange, &acknowledged(&body)), []);
}

#[test]
fn one_who_initializes_again_begins_anew() {
    let (mut table, exchange, _) = listening();
    let (again, body) = posted(&table.client(&initialize(1, "{}")));
    let did = table.server(again, &discovered(&body["id"], r#"{"tools":{"listChanged":true}}"#));
    assert!(did[0] == Did::Cancel(exchange) && did.len() == 2, "{did:?}");
    let (_, body) = posted(&table.client(INITIALIZED));
    assert_eq!(body["params"]["notifications"], json!({"toolsListChanged": true}));
}

#[test]
fn at_the_end_there_is_no_subscription() {
    let (mut table, exchange, _) = listening();
    let (second, _) = posted(&table.client(&subscribe(1, "a:b")));
    let did = table.on(Event::ClientClosed);
    let cancels =
        did.iter().filter(|did| matches!(did, Did::Cancel(it) if *it == exchange || *it == second));
    assert_eq!(cancels.count(), 2, "{did:?}");
    assert!(matches!(did.last(), Some(Did::Finished)), "{did:?}");
    assert!(
        did.iter()
            .any(|did| matches!(did, Did::Deliver(line) if line.contains(r#""id":1,"error""#)))
    );
}
