//! `initialize` and revisions, clause by clause.

use super::*;

/// discover, "Response"; 2025-11-25 lifecycle, "Initialization".
#[test]
fn initialize_is_answered_by_discovery() {
    let mut table = Table::new();
    let (exchange, body) =
        posted(&table.client(&initialize(7, r#"{"roots":{"listChanged":true}}"#)));
    assert_eq!(
        body,
        json!({"jsonrpc": "2.0", "id": 7, "method": "server/discover", "params": {"_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {"roots": {}},
        }}})
    );
    let capabilities = r#"{"tools":{"listChanged":true},"resources":{"subscribe":true},"logging":{},"extensions":{"a/b":{}},"x":[ ]}"#;
    let did = table.server(exchange, &discovered(&json!(7), capabilities));
    assert_eq!(
        said(&did),
        r#"{"jsonrpc":"2.0","id":7,"result":{"capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true},"logging":{},"extensions":{"a/b":{}},"x":[ ]},"instructions":"be good","protocolVersion":"2025-06-18","serverInfo":{"name":"s","version":"2"}}}"#
    );
}

#[test]
fn a_server_without_a_name_is_called_by_its_origin() {
    for (given, name) in [
        (r#"{"resultType":"complete"}"#, "https://gw"),
        (r#"{"resultType":"complete","serverInfo":{"name":"old","version":"1"}}"#, "old"),
    ] {
        let mut table = Table::new();
        let (exchange, _) = posted(&table.client(&initialize(1, "{}")));
        let did = table.server(exchange, &result(&json!(1), given));
        let answer: Value = serde_json::from_str(said(&did)).unwrap();
        assert_eq!(answer["result"]["serverInfo"]["name"], name);
        assert_eq!(answer["result"]["capabilities"], json!({}));
    }
}

#[test]
fn a_discovery_that_fails_is_the_answer_and_the_next_one_tries_again() {
    let unsupported = error(&json!(1), -32_022, r#"{"supported":["2027-01-01"]}"#);
    for (end, words) in [
        (refused(503, ""), "503"),
        (End::Broken(Failure::new(Stage::Connect, "no way")), "no way"),
        (refused(400, &unsupported), "the server speaks 2027-01-01"),
    ] {
        let mut table = Table::new();
        let (exchange, _) = posted(&table.client(&initialize(1, "{}")));
        let did = table.end(exchange, end);
        assert!(said(&did).contains(words), "{words}: {did:?}");
        let (exchange, body) = posted(&table.client(&initialize(2, "{}")));
        let did = table.server(exchange, &discovered(&body["id"], "{}"));
        assert!(said(&did).contains("protocolVersion"), "{did:?}");
    }
    let mut table = Table::new();
    let (exchange, _) = posted(&table.client(&initialize(1, "{}")));
    let did = table.server(exchange, &result(&json!(1), r#"{"supportedVersions":["2027-01-01"]}"#));
    assert!(said(&did).contains("https://gw speaks 2027-01-01"), "{did:?}");
}

/// mrtr, "Supported Requests"; 2025-11-25 lifecycle, "Initialization".
#[test]
fn a_client_that_has_not_initialized_is_not_asked() {
    let mut table = Table::new();
    let (exchange, body) = posted(&table.client(&initialize(1, CAPABILITIES)));
    let asks = r#"{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list"}}}"#;
    let did = table.server(exchange, &result(&body["id"], asks));
    assert!(said(&did).contains(r#""id":1,"error""#), "{did:?}");
}

/// versioning, "Protocol Version Negotiation": once, with a version from the list.
#[test]
fn a_request_whose_revision_is_refused_is_sent_once_more() {
    for text in [initialize(1, "{}"), call(1)] {
        let mut table = Table::new();
        let (exchange, first) = posted(&table.client(&text));
        let refusal = |id| refused(400, &error(id, -32_022, r#"{"supported":["2026-07-28"]}"#));
        let did = table.end(exchange, refusal(&first["id"]));
        let (exchange, second) = posted(&did);
        assert_ne!(first["id"], second["id"]);
        assert_eq!(first["params"], second["params"]);
        let did = table.end(exchange, refusal(&second["id"]));
        assert!(
            said(&did).starts_with(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32022"#),
            "{did:?}"
        );
    }
}
