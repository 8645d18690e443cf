//! 2026-07-28 mrtr, clause by clause.

use super::*;

/// A round that asks for this, in the answer to a request.
fn required(id: &Value, requests: &str, state: &str) -> String {
    let mut members = r#""resultType":"input_required""#.to_owned();
    if !requests.is_empty() {
        members.push_str(&format!(r#","inputRequests":{requests}"#));
    }
    if !state.is_empty() {
        members.push_str(&format!(r#","requestState":{state}"#));
    }
    result(id, &format!("{{{members}}}"))
}

const ELICIT: &str = r#"{"who":{"method":"elicitation/create","params":{"mode":"form","message":"?","requestedSchema":{"type":"object","properties":{}}}}}"#;

/// A table with call 1 in flight: its exchange, and the body that was posted.
fn calling() -> (Table, ExchangeId, Value) {
    let mut table = Table::initialized("{}");
    let (exchange, body) = posted(&table.client(&call(1)));
    (table, exchange, body)
}

/// The ids of the questions in `did`, and that they are nothing else.
fn asked(did: &[Did]) -> Vec<Value> {
    let id = |did: &Did| match did {
        Did::Deliver(line) => serde_json::from_str::<Value>(line).unwrap()["id"].clone(),
        other => panic!("{other:?}"),
    };
    did.iter().map(id).collect()
}

/// "Client Requirements" 1 to 3; changelog, major 7.
#[test]
fn what_the_server_asks_for_is_asked_of_the_client_and_sent_with_the_retry() {
    let (mut table, exchange, first) = calling();
    let requests = r#"{"who":{"method":"elicitation/create","params":{"message":"?" ,"n":1.0}},"a \"b\"":{"method":"sampling/createMessage","params":{"messages":[]}},"r":{"method":"roots/list"}}"#;
    let did = table.server(exchange, &required(&json!(1), requests, r#""st\u0061te/\n""#));
    let lines = [
        r#"{"jsonrpc":"2.0","id":"countersign-ask-1","method":"elicitation/create","params":{"message":"?" ,"n":1.0}}"#,
        r#"{"jsonrpc":"2.0","id":"countersign-ask-2","method":"sampling/createMessage","params":{"messages":[]}}"#,
        r#"{"jsonrpc":"2.0","id":"countersign-ask-3","method":"roots/list"}"#,
    ];
    assert_eq!(did, lines.map(|line| Did::Deliver(line.to_owned())));
    // The first exchange has done its duty.
    assert!(table.0.settled(exchange));
    // In any order; declining and cancelling are answers too (elicitation, "Response Actions").
    assert_eq!(table.client(&result(&json!("countersign-ask-3"), r#"{"roots":[ ]}"#)), []);
    assert_eq!(table.client(&result(&json!("countersign-ask-2"), r#"{"role":"assistant"}"#)), []);
    assert_eq!(table.client(&result(&json!("countersign-ask-3"), "{}")), [], "a second answer");
    let message = Message::parse(Bytes::from(result(
        &json!("countersign-ask-1"),
        r#"{"action":"decline","n":1.0}"#,
    )));
    let commands = table.0.handle(Event::FromClient(message.unwrap()));
    let [Command::Post { exchange, body, .. }] = &commands[..] else { panic!("{commands:?}") };
    let text = std::str::from_utf8(body).unwrap();
    assert!(text.contains(r#""requestState":"st\u0061te/\n""#), "byte for byte: {text}");
    assert!(
        text.contains(
            r#""inputResponses":{"who":{"action":"decline","n":1.0},"a \"b\"":{"role":"assistant"},"r":{"roots":[ ]}}"#
        ),
        "{text}"
    );
    let second: Value = serde_json::from_slice(body).unwrap();
    assert_ne!(first["id"], second["id"]);
    for same in ["name", "arguments", "_meta"] {
        assert_eq!(first["params"][same], second["params"][same]);
    }
    let did = table
        .server(*exchange, &result(&second["id"], r#"{"content":[],"resultType":"complete"}"#));
    assert_eq!(said(&did), result(&json!(1), r#"{"content":[]}"#));
}

/// "Client Requirements" 2: no state where there was none, and 4: none of another round's.
#[test]
fn a_round_carries_its_own_state_alone() {
    let (mut table, exchange, first) = calling();
    let ids = asked(&table.server(exchange, &required(&first["id"], ELICIT, r#""one""#)));
    let (exchange, second) = posted(&table.client(&result(&ids[0], r#"{"action":"accept"}"#)));
    assert_eq!(second["params"]["requestState"], "one");
    let ids = asked(&table.server(exchange, &required(&second["id"], ELICIT, "")));
    let (exchange, third) = posted(&table.client(&result(&ids[0], r#"{"action":"cancel"}"#)));
    assert_eq!(third["params"].get("requestState"), None);
    assert_eq!(third["params"]["inputResponses"], json!({"who": {"action": "cancel"}}));
    let (_, fourth) = posted(&table.server(exchange, &required(&third["id"], "", r#""four""#)));
    assert_eq!(fourth["params"]["requestState"], "four");
    assert_eq!(fourth["params"].get("inputResponses"), None);
}

/// "If the `InputRequiredResult` does not contain the `inputRequests` field, the client MAY retry the
/// original request immediately": once; then the server is given time, and in the end up.
#[test]
fn a_server_that_only_wants_to_be_asked_again_is_asked_with_pauses_and_not_for_ever() {
    let (mut table, mut exchange, body) = calling();
    let mut id = body["id"].clone();
    let mut pauses = Vec::new();
    let last = loop {
        let mut did = table.server(exchange, &required(&id, "", r#""s""#));
        if let [Did::After(pause, timer)] = did[..] {
            pauses.push(pause);
            did = table.on(Event::Elapsed(timer));
            assert_eq!(table.on(Event::Elapsed(timer)), [], "a timer is good for once");
        }
        let [Did::Post(next, body)] = &did[..] else { break did };
        (exchange, id) = (*next, body["id"].clone());
    };
    assert!(said(&last).contains("asks for input more than 16 times"), "{last:?}");
    assert_eq!(pauses.len(), 15);
    assert!(pauses[0] == Duration::from_millis(250) && pauses[14] == Duration::from_secs(16));
}

/// "Server Requirements" 2, 6 and 7, and what is no such result at all.
#[test]
fn what_can_not_be_asked_is_an_error() {
    let many: Vec<String> =
        (0..65).map(|at| format!(r#""{at}":{{"method":"roots/list"}}"#)).collect();
    let many = format!("{{{}}}", many.join(","));
    for (capabilities, requests, words) in [
        ("{}", ELICIT, "has not declared: elicitation"),
        (
            r#"{"elicitation":{}}"#,
            r#"{"a":{"method":"elicitation/create","params":{"mode":"url","url":"https://x"}}}"#,
            "has not declared: elicitation.url",
        ),
        ("{}", r#"{"a":{"method":"sampling/createMessage","params":{}}}"#, "declared: sampling"),
        ("{}", r#"{"a":{"method":"roots/list"}}"#, "declared: roots"),
        (CAPABILITIES, r#"{"a":{"method":"tools/list"}}"#, "MCP does not define"),
        (CAPABILITIES, r#"{"a":7}"#, "can't be read"),
        (CAPABILITIES, "[]", "can't be read"),
        (CAPABILITIES, "", "does not say for which"),
        (CAPABILITIES, "{}", "does not say for which"),
        (CAPABILITIES, &many, "more than 64"),
    ] {
        let mut table = Table::new();
        let (exchange, body) = posted(&table.client(&initialize(0, capabilities)));
        table.server(exchange, &discovered(&body["id"], "{}"));
        let (exchange, _) = posted(&table.client(&call(1)));
        let did = table.server(exchange, &required(&json!(1), requests, ""));
        assert!(said(&did).contains(words) && said(&did).contains(r#""id":1,"error""#), "{did:?}");
        assert_eq!(table.on(Event::ClientClosed), [Did::Finished]);
    }
}

/// changelog, minor 11: up to 2025-11-25 such an elicitation has an id.
#[test]
fn an_elicitation_by_url_is_given_the_id_that_it_had() {
    let (mut table, exchange, _) = calling();
    let url = |more| {
        format!(
            r#"{{"a":{{"method":"elicitation/create","params":{{"mode":"url","url":"https://x"{more}}}}}}}"#
        )
    };
    let did = table.server(exchange, &required(&json!(1), &url(""), ""));
    assert!(
        said(&did).ends_with(r#""url":"https://x","elicitationId":"countersign-ask-1"}}"#),
        "{did:?}"
    );
    let (exchange, _) = posted(&table.client(&call(2)));
    let own = url(r#","elicitationId":"own""#);
    let did = table.server(exchange, &required(&json!(2), &own, ""));
    assert!(said(&did).ends_with(r#""elicitationId":"own"}}"#), "{did:?}");
}

/// A client that can't answer fails the request, and is not asked the rest of it.
#[test]
fn an_error_of_the_client_is_one_of_its_request() {
    let (mut table, exchange, _) = calling();
    let two = r#"{"a":{"method":"roots/list"},"b":{"method":"roots/list"}}"#;
    let ids = asked(&table.server(exchange, &required(&json!(1), two, "")));
    let did = table.client(&error(&ids[0], -1, "{}"));
    let [Did::Deliver(cancel), Did::Deliver(answer)] = &did[..] else { panic!("{did:?}") };
    assert!(cancel.contains("notifications/cancelled") && cancel.contains("countersign-ask-2"));
    assert!(answer.contains("the client answered roots/list with an error: no"), "{answer}");
    assert!(answer.contains(r#""id":1,"#), "{answer}");
    assert_eq!(table.client(&result(&ids[1], "{}")), [], "too late");
}

/// Cancelling at each step: before, while asking, in a pause, and in the retry.
#[test]
fn a_request_can_be_cancelled_at_each_step() {
    let (mut table, exchange, _) = calling();
    assert_eq!(table.cancels(1), [Did::Cancel(exchange)]);

    let (mut table, exchange, _) = calling();
    let two = r#"{"a":{"method":"roots/list"},"b":{"method":"roots/list"}}"#;
    let ids = asked(&table.server(exchange, &required(&json!(1), two, "")));
    table.client(&result(&ids[0], "{}"));
    let did = table.cancels(1);
    assert!(said(&did).contains("notifications/cancelled"), "only what is unanswered: {did:?}");
    assert!(said(&did).contains("countersign-ask-2"), "{did:?}");
    assert_eq!(table.client(&result(&ids[1], "{}")), []);
    assert_eq!(table.on(Event::ClientClosed), [Did::Finished]);

    let (mut table, exchange, body) = calling();
    let (exchange, body) = posted(&table.server(exchange, &required(&body["id"], "", r#""s""#)));
    let did = table.server(exchange, &required(&body["id"], "", r#""s""#));
    let [Did::After(_, timer)] = did[..] else { panic!("{did:?}") };
    assert_eq!(table.cancels(1), []);
    assert_eq!(table.on(Event::Elapsed(timer)), []);

    let (mut table, exchange, body) = calling();
    let (exchange, body) = posted(&table.server(exchange, &required(&body["id"], "", r#""s""#)));
    assert_eq!(table.cancels(1), [Did::Cancel(exchange)]);
    assert_eq!(table.server(exchange, &result(&body["id"], "{}")), []);
    assert_eq!(table.on(Event::ClientClosed), [Did::Finished]);
}

/// Promise 1: nobody is left to ask.
#[test]
fn a_client_that_is_gone_is_not_asked() {
    let (mut table, exchange, _) = calling();
    let ids = asked(&table.server(exchange, &required(&json!(1), ELICIT, "")));
    assert_eq!(ids.len(), 1);
    let (later, _) = posted(&table.client(&call(2)));
    let did = table.on(Event::ClientClosed);
    assert!(
        did.iter()
            .any(|did| matches!(did, Did::Deliver(line) if line.contains("closed its input"))),
        "{did:?}"
    );
    let did = table.server(later, &required(&json!(2), ELICIT, ""));
    let [Did::Deliver(line), Did::Finished] = &did[..] else { panic!("{did:?}") };
    assert!(line.contains("a client that is gone"), "{line}");
}

/// Progress belongs to the retry as it did to the request (progress, "Progress Flow").
#[test]
fn progress_and_log_messages_pass_during_the_retry() {
    let (mut table, exchange, body) = calling();
    let (exchange, body) = posted(&table.server(exchange, &required(&body["id"], "", r#""s""#)));
    assert_eq!(body["params"]["_meta"]["progressToken"], "p");
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1}}"#;
    assert_eq!(said(&table.server(exchange, progress)), progress);
}
