//! Cancelling at each step, and the end.

use super::*;

fn cancelled(did: &[Did], id: &Value) -> bool {
    posts(did).iter().any(|said| {
        said["method"] == "notifications/cancelled" && said["params"]["requestId"] == *id
    })
}

#[test]
fn a_request_that_waits_for_its_session_is_never_sent() {
    let mut table = Table::new();
    let did = table.client(&call(1));
    assert_eq!(table.client(&cancel(1)), []);
    let did = table.stands(&did);
    assert_eq!(did, []);
}

#[test]
fn a_request_that_waits_for_its_log_level_is_never_sent() {
    let mut table = Table::ready();
    let params = json!({ "_meta": { "io.modelcontextprotocol/logLevel": "info" } });
    let (setting, id) = table.calls(&request(1, "tools/call", params));
    assert_eq!(table.client(&cancel(1)), []);
    assert_eq!(table.server(setting, &result(&id, json!({}))), []);
}

/// patterns/cancellation, "Transport-Specific Cancellation"; 2025-11-25 likewise.
#[test]
fn a_call_is_cancelled_under_the_id_that_the_server_knows() {
    let mut table = Table::ready();
    let (exchange, id) = table.calls(&call(1));
    let did = table.client(&cancel(1));
    assert!(cancelled(&did, &id), "{did:?}");
    assert_eq!(posted(&did).1["params"]["reason"], "enough");
    assert_eq!(table.server(exchange, &result(&id, json!({}))), [], "nobody waits for it");
    // Another call is open, and it is not that one's question.
    table.calls(&call(2));
    let did = table.server(exchange, &elicit("q"));
    assert_eq!(posted(&did).1["error"]["code"], -32_601, "nor can be asked through it");
    assert_eq!(table.client(&cancel(1)), []);
}

#[test]
fn a_held_call_is_cancelled_by_the_id_that_was_asked_as() {
    let mut table = Table::ready();
    let (exchange, id) = table.calls(&call(1));
    let asked = table.asks(exchange, &elicit("q"));
    let did = table.client(&cancel(1));
    assert!(cancelled(&did, &id), "{did:?}");
    assert_eq!(
        (&posts(&did)[1]["id"], &posts(&did)[1]["error"]["code"]),
        (&json!("q"), &json!(-32_603))
    );
    let late = table.client(&retry(&call(1), 2, &asked, &accept()));
    assert_eq!(code(&late), (json!(2), -32_602));
}

#[test]
fn a_retried_call_is_cancelled_by_the_id_of_the_retry() {
    let mut table = Table::ready();
    let (exchange, id) = table.calls(&call(1));
    let asked = table.asks(exchange, &elicit("q"));
    let did = table.client(&retry(&call(1), 2, &asked, &accept()));
    assert_eq!(posts(&did).len(), 1);
    assert_eq!(table.client(&cancel(1)), [], "that one is over");
    assert!(cancelled(&table.client(&cancel(2)), &id));
    assert_eq!(table.server(exchange, &result(&id, json!({}))), []);
}

#[test]
fn a_call_in_its_second_round_is_cancelled_too() {
    let mut table = Table::ready();
    let (exchange, id) = table.calls(&call(1));
    let asked = table.asks(exchange, &elicit("q"));
    table.client(&retry(&call(1), 2, &asked, &accept()));
    table.asks(exchange, &elicit("r"));
    assert!(cancelled(&table.client(&cancel(2)), &id));
}

#[test]
fn the_end_awaits_calls_and_gives_up_what_only_the_client_can_go_on_with() {
    let mut table = Table::ready();
    let (running, running_id) = table.calls(&call(1));
    let (held, held_id) = table.calls(&call(2));
    table.asks(held, &elicit("q"));
    let did = table.on(Event::ClientClosed);
    assert!(cancelled(&did, &held_id) && !did.contains(&Did::Finished), "{did:?}");
    let notices: Vec<_> = did
        .iter()
        .filter_map(|did| match did {
            Did::Post(exchange, _) => Some(*exchange),
            _ => None,
        })
        .collect();
    for notice in notices {
        assert!(!table.over(notice, true).contains(&Did::Finished));
    }
    let did = table.server(running, &elicit("r"));
    let (notice, said) = posted(&did);
    assert_eq!(said["error"]["code"], -32_603, "nobody is there to ask");
    table.over(notice, true);
    let did = table.server(running, &result(&running_id, json!({})));
    assert_eq!(delivered(&did)[0]["id"], 1);
    assert_eq!(did.last(), Some(&Did::Finished), "{did:?}");
    assert!(did.contains(&Did::End));
    let did = table.on(Event::Expired);
    assert!(did.iter().all(|did| matches!(did, Did::Cancel(_))), "once: {did:?}");
    assert_eq!(code(&table.client(&call(3))).0, 3);
}

#[test]
fn the_end_awaits_what_waits_for_its_session() {
    let mut table = Table::new();
    let did = table.client(&call(1));
    assert_eq!(table.on(Event::ClientClosed), []);
    let did = table.stands(&did);
    let (exchange, said) = posted(&did);
    let did = table.server(exchange, &result(&said["id"], json!({})));
    assert_eq!(delivered(&did)[0]["id"], 1);
    assert_eq!(did.last(), Some(&Did::Finished));
}

#[test]
fn without_a_session_the_end_is_at_once() {
    assert_eq!(Table::new().on(Event::ClientClosed), [Did::Finished]);
}

#[test]
fn what_is_open_when_time_is_up_is_answered() {
    let mut table = Table::ready();
    table.calls(&call(1));
    let (held, _) = table.calls(&call(2));
    table.asks(held, &elicit("q"));
    let params = json!({ "_meta": { "io.modelcontextprotocol/logLevel": "info" } });
    table.client(&request(3, "tools/call", params));
    table.client(&by("{}", 4, "tools/call", json!({})));
    table.on(Event::ClientClosed);
    let did = table.on(Event::Expired);
    let mut ids: Vec<_> = delivered(&did).iter().map(|it| it["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 3, 4]);
    assert_eq!(did.last(), Some(&Did::Finished));
}
