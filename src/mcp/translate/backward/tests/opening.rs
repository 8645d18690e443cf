//! How sessions are opened, in whose name, and how many.

use super::*;

/// basic, "Per-request protocol fields"; 2025-11-25 basic/lifecycle, "Initialization".
#[test]
fn the_first_request_opens_a_session_in_its_name() {
    let mut table = Table::new();
    let did = table.client(&call(1));
    let [Did::Post(exchange, said)] = &did[..] else { panic!("{did:?}") };
    assert!(exchange.0 >= FIRST);
    assert_eq!(
        said["params"],
        json!({
            "protocolVersion": "2025-11-25",
            "capabilities": serde_json::from_str::<Value>(ALL).unwrap(),
            "clientInfo": { "name": "tester", "version": "7" },
        })
    );
    assert_eq!(table.client(&call(2)), [], "it waits for the session");
    let did = table.stands(&did);
    assert_eq!(posts(&did).len(), 2, "{did:?}");
    assert_eq!(
        posts(&did)[0]["params"],
        json!({ "name": "run", "arguments": { "a": 1 }, "_meta": {} })
    );
}

#[test]
fn a_client_without_a_name_is_given_ours() {
    let mut table = Table::new();
    let mut nameless = call(1);
    let meta = nameless["params"]["_meta"].as_object_mut().unwrap();
    meta.remove("io.modelcontextprotocol/clientInfo");
    let did = table.client(&nameless);
    assert_eq!(posted(&did).1["params"]["clientInfo"]["name"], "countersign");
}

/// server/discover, "Response"; server/utilities/caching, "Cacheable Results".
#[test]
fn discovery_is_answered_from_the_session() {
    let mut table = Table::new();
    let did = table.client(&request("d", "server/discover", json!({})));
    let did = table.stands(&did);
    let mut offered = capabilities();
    offered.as_object_mut().unwrap().remove("tasks");
    assert_eq!(
        *said(&did),
        result(
            &json!("d"),
            json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": offered,
                "instructions": "be kind", "ttlMs": 0, "cacheScope": "private",
                "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "old", "version": "1.0" } },
            })
        )
    );
    let did = table.client(&request(2, "server/discover", json!({})));
    assert_eq!(said(&did)["id"], 2, "again, and nothing is sent");
}

/// versioning, "Protocol Version Negotiation"; basic, "Per-request protocol fields"; changelog, 4 to 6.
#[test]
fn what_can_not_be_served_is_refused_here() {
    let mut other = call(1);
    other["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2027-01-01");
    let mut table = Table::new();
    let did = table.client(&other);
    assert_eq!(
        said(&did)["error"]["data"],
        json!({ "supported": ["2026-07-28"], "requested": "2027-01-01" })
    );
    assert_eq!(code(&did).1, -32_022);

    let without = |key: &str| {
        let mut request = call(1);
        let meta = request["params"]["_meta"].as_object_mut().unwrap();
        meta.remove(&format!("io.modelcontextprotocol/{key}"));
        request
    };
    let with = |key: &str, value: Value| {
        let mut request = call(1);
        request["params"]["_meta"][format!("io.modelcontextprotocol/{key}")] = value;
        request
    };
    for (request, expected) in [
        (without("protocolVersion"), -32_602),
        (without("clientCapabilities"), -32_602),
        (with("clientCapabilities", json!([])), -32_602),
        (with("clientInfo", json!("me")), -32_602),
        (with("logLevel", json!("loud")), -32_602),
        (with("protocolVersion", json!(7)), -32_602),
        (json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }), -32_602),
        (request(1, "initialize", json!({})), -32_601),
        (request(1, "resources/subscribe", json!({ "uri": "a" })), -32_601),
        (request(1, "resources/unsubscribe", json!({ "uri": "a" })), -32_601),
        (request(1, "logging/setLevel", json!({ "level": "info" })), -32_601),
        (request(1, "tasks/update", json!({})), -32_601),
        (json!([call(1)]), -32_600),
    ] {
        assert_eq!(code(&table.client(&request)), (json!(1), expected), "{request}");
    }
}

#[test]
fn what_is_no_request_opens_nothing() {
    let mut table = Table::new();
    for said in [
        json!({ "jsonrpc": "2.0", "id": 1, "result": {} }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "method": "notifications/of/an/extension" }),
        cancel(1),
    ] {
        assert_eq!(table.client(&said), [], "{said}");
    }
    let mut table = Table::ready();
    let own = json!({ "jsonrpc": "2.0", "method": "notifications/of/an/extension", "params": { "x": 1 } });
    let mut modern = own.clone();
    modern["params"]["_meta"] = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28" });
    let mut bare = own.clone();
    bare["params"]["_meta"] = json!({});
    assert_eq!(posted(&table.client(&modern)).1, bare);
    assert_eq!(posted(&table.client(&own)).1, own, "it goes to the session that was used last");
}

#[test]
fn an_id_in_flight_is_not_taken_twice() {
    let mut table = Table::ready();
    table.calls(&call(1));
    assert_eq!(code(&table.client(&call(1))), (json!(1), -32_600));
}

#[test]
fn a_session_that_is_refused_fails_what_waits_and_the_next_request_tries_again() {
    for by_http in [true, false] {
        let mut table = Table::new();
        let did = table.client(&call(1));
        table.client(&request(2, "server/discover", json!({})));
        let (exchange, said) = posted(&did);
        let did = if by_http {
            table.on(Event::Ended(exchange, refused(403), Position::default()))
        } else {
            table.server(exchange, &error(&said["id"], -32_000))
        };
        let ids: Vec<_> = delivered(&did).iter().map(|it| it["id"].clone()).collect();
        assert_eq!(ids, [1, 2]);
        assert!(posts(&did).is_empty(), "{did:?}");
        table.over(exchange, false);
        let did = table.client(&call(3));
        let did = table.stands(&did);
        assert_eq!(posts(&did)[0]["method"], "tools/call");
    }
}

#[test]
fn each_set_of_capabilities_has_a_session_of_its_own_and_they_are_bounded() {
    let mut table = Table::new();
    let capable = |n: usize| format!(r#"{{"experimental":{{"n{n}":{{}}}}}}"#);
    let mut exchanges = Vec::new();
    for n in 0..8 {
        let did = table.client(&by(&capable(n), 100 + n, "server/discover", json!({})));
        exchanges.push(posted(&did).0);
        table.stands(&did);
    }
    exchanges.dedup();
    assert_eq!(exchanges.len(), 8, "no name twice");
    // The first is used again, so the second is the one to go.
    let did = table.client(&by(&capable(0), 1, "tools/list", json!({})));
    let (busy, asked) = posted(&did);
    let did = table.client(&by(&capable(8), 2, "server/discover", json!({})));
    assert!(did.contains(&Did::End), "{did:?}");
    let (exchange, said) = posted(&did);
    assert_eq!(said["method"], "initialize");
    assert!(!exchanges.contains(&exchange));
    table.stands(&did);
    // The server's answers find their session.
    let did = table.server(busy, &result(&asked["id"], json!({ "tools": [] })));
    assert_eq!(super::said(&did)["id"], 1);
}

#[test]
fn sessions_with_anything_in_flight_are_not_ended() {
    let mut table = Table::new();
    table.machine.limits.in_flight = 100;
    let capable = |n: usize| format!(r#"{{"elicitation":{{}},"experimental":{{"n{n}":{{}}}}}}"#);
    // Opening, with a call, with a call that is held, with a subscription.
    for n in 0..8 {
        let method = if n % 4 == 3 { "subscriptions/listen" } else { "tools/call" };
        let did = table.client(&by(&capable(n), n, method, json!({ "notifications": {} })));
        if n % 4 > 0 {
            let did = table.stands(&did);
            if n % 4 == 2 {
                table.asks(posted(&did).0, &elicit("q"));
            }
        }
    }
    let did = table.client(&by(&capable(8), 8, "tools/list", json!({})));
    assert_eq!(code(&did), (json!(8), -32_600));
    table.client(&cancel(5));
    let did = table.client(&by(&capable(8), 8, "tools/list", json!({})));
    assert!(did.contains(&Did::End), "{did:?}");
    assert_eq!(posts(&did).last().unwrap()["method"], "initialize");
}

#[test]
fn timers_find_their_session() {
    let mut table = Table::new();
    let mut confirming = Vec::new();
    for (id, capabilities) in [(1, "{}"), (2, ALL)] {
        let did = table.client(&by(capabilities, id, "tools/list", json!({})));
        let (exchange, said) = posted(&did);
        let agreed = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
        let did = table.server(exchange, &result(&said["id"], agreed));
        let timer = did.iter().find_map(|did| match did {
            Did::After(timer) => Some(*timer),
            _ => None,
        });
        confirming.push(timer.unwrap());
    }
    // The second goes on to its stream, and so to its request; the first waits.
    for _ in 0..2 {
        let did = table.on(Event::Elapsed(confirming[1]));
        let Some(Did::After(timer)) = did.last() else {
            assert_eq!(posted(&did).1["method"], "tools/list");
            return;
        };
        confirming[1] = *timer;
    }
    panic!("its request was not sent");
}
