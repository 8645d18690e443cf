//! `URLElicitationRequiredError` of 2025-11-25 (client/elicitation).

use super::*;

fn requires(id: &Value, elicitations: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": {
        "code": -32_042, "message": "first", "data": { "elicitations": elicitations } } })
}

fn one() -> Value {
    json!([{ "mode": "url", "elicitationId": "e", "url": "https://a/b", "message": "please" }])
}

#[test]
fn the_address_is_a_question_and_the_retry_is_the_call_made_anew() {
    let mut table = Table::ready();
    let (exchange, id) = table.calls(&call(1));
    let asked = table.asks(exchange, &requires(&id, one()));
    assert_eq!(asked["id"], 1);
    let input = &asked["result"]["inputRequests"]["input-1"];
    assert_eq!(
        *input,
        json!({ "method": "elicitation/create",
        "params": { "mode": "url", "url": "https://a/b", "message": "please" } })
    );
    let did = table.client(&retry(&call(1), 2, &asked, &json!({ "action": "accept" })));
    let [Did::Post(exchange, again)] = &did[..] else { panic!("{did:?}") };
    assert_eq!(again["params"], json!({ "name": "run", "arguments": { "a": 1 }, "_meta": {} }));
    assert_ne!(again["id"], id);
    let did = table.server(*exchange, &result(&again["id"], json!({})));
    assert_eq!(said(&did)["id"], 2);
}

#[test]
fn a_user_who_declines_ends_the_call() {
    let mut table = Table::ready();
    let (exchange, id) = table.calls(&call(1));
    let asked = table.asks(exchange, &requires(&id, one()));
    let did = table.client(&retry(&call(1), 2, &asked, &json!({ "action": "decline" })));
    assert_eq!(code(&did), (json!(2), -32_603));
}

/// patterns/mrtr, "Error Handling".
#[test]
fn what_was_not_asked_is_ignored() {
    let mut table = Table::ready();
    let (exchange, id) = table.calls(&call(1));
    let asked = table.asks(exchange, &requires(&id, one()));
    let mut more = retry(&call(1), 2, &asked, &accept());
    more["params"]["inputResponses"]["other"] = json!({ "action": "decline" });
    assert_eq!(posted(&table.client(&more)).1["method"], "tools/call");
}

#[test]
fn what_is_not_answered_is_asked_again() {
    let mut table = Table::ready();
    let (exchange, id) = table.calls(&call(1));
    let asked = table.asks(exchange, &requires(&id, one()));
    let mut empty = retry(&call(1), 2, &asked, &accept());
    empty["params"]["inputResponses"] = json!({});
    let did = table.client(&empty);
    assert_eq!(
        delivered(&did)[0]["result"]["inputRequests"]["input-1"]["method"],
        "elicitation/create"
    );
}

#[test]
fn it_is_given_up_in_time_and_nothing_is_cancelled() {
    let mut table = Table::ready();
    let (exchange, id) = table.calls(&call(1));
    let did = table.server(exchange, &requires(&id, one()));
    let Did::After(timer) = did[1] else { panic!("{did:?}") };
    assert_eq!(table.on(Event::Elapsed(timer)), []);
}

/// basic, "Per-request protocol fields"; patterns/mrtr, "Supported Requests".
#[test]
fn what_can_not_be_asked_is_an_error_in_words() {
    let form = r#"{"elicitation":{}}"#;
    for (capabilities, method, elicitations, expected) in [
        (form, "tools/call", one(), -32_021),
        ("{}", "tools/call", one(), -32_021),
        (ALL, "tools/list", one(), -32_603),
        (ALL, "tools/call", json!([]), -32_603),
        (ALL, "tools/call", json!([{ "message": "x" }]), -32_603),
        (ALL, "tools/call", json!(7), -32_603),
    ] {
        let mut table = Table::new();
        let did = table.client(&by(capabilities, 1, method, json!({})));
        let did = table.stands(&did);
        let (exchange, sent) = posted(&did);
        let did = table.server(exchange, &requires(&sent["id"], elicitations));
        assert_eq!(code(&did), (json!(1), expected));
        if expected == -32_021 {
            let needs = json!({ "requiredCapabilities": { "elicitation": { "url": {} } } });
            assert_eq!(said(&did)["error"]["data"], needs);
        }
    }
}
