//! A modern client before the servers of the other transports: HTTP+SSE alone, and WebSocket. What they
//! ask belongs to no call that can be seen, and is put through the one that is open.

use serde_json::{Value, json};

use super::{call, retry, stamped};
use crate::support::{
    duplex::{Duplex, Said},
    jsonrpc::Client,
    pki::Pki,
};

fn modern_client(pki: &Pki, server: &Duplex) -> Client {
    Client::start(&server.bridge(pki).args(["--protocol", "modern"]))
}

fn both(pki: &Pki) -> [Duplex; 2] {
    [Duplex::http_sse(pki), Duplex::websocket(pki)]
}

#[test]
fn a_modern_client_has_all_that_there_is() {
    let pki = Pki::new();
    for server in both(&pki) {
        let mut client = modern_client(&pki, &server);
        let discovered = client.ask("server/discover", stamped(json!({})));
        assert_eq!(discovered["capabilities"]["tools"], json!({"listChanged": true}));
        let info = json!({"name": "channel", "version": "1"});
        assert_eq!(discovered["_meta"]["io.modelcontextprotocol/serverInfo"], info);
        let id = call(&mut client, "echo", &json!({"a": "\u{e9}"}));
        let result = client.result(&id);
        assert_eq!(result["structuredContent"], json!({"a": "\u{e9}"}));
        assert_eq!(result["resultType"], "complete");
        let mut params = stamped(json!({"name": "progress"}));
        params["_meta"]["progressToken"] = 7.into();
        let id = client.request("tools/call", params);
        client.result(&id);
        for step in 1..=2 {
            let said = client.notification("notifications/progress");
            assert_eq!(said["params"], json!({"progressToken": 7, "progress": step}));
        }
        let id = call(&mut client, "big", &json!({"bytes": 1 << 20}));
        let result = client.result(&id);
        assert_eq!(result["content"][0]["text"].as_str().unwrap().len(), 1 << 20);
        let filter = json!({"notifications": {"toolsListChanged": true}});
        let id = client.request("subscriptions/listen", stamped(filter));
        client.notification("notifications/subscriptions/acknowledged");
        let changed = "notifications/tools/list_changed";
        server.say_json(&json!({"jsonrpc": "2.0", "method": changed}));
        let named = json!({"io.modelcontextprotocol/subscriptionId": id});
        assert_eq!(client.notification(changed)["params"]["_meta"], named);
        client.notify("notifications/cancelled", json!({"requestId": id}));
        assert_eq!(client.finish(), [] as [Value; 0]);
        assert_eq!((server.channels(), server.messages("initialize").len()), (1, 1));
    }
}

/// HTTP+SSE is found where nothing else is said, too.
#[test]
fn a_modern_client_that_goes_on_after_its_probe_is_translated() {
    let pki = Pki::new();
    let server = Duplex::http_sse(&pki);
    let mut client = Client::start(&server.bridge(&pki));
    let id = client.request("server/discover", stamped(json!({})));
    let error = client.error(&id);
    assert!(error["message"].as_str().unwrap().contains("--protocol modern"), "{error}");
    let id = call(&mut client, "echo", &json!({"n": 1}));
    assert_eq!(client.result(&id)["structuredContent"], json!({"n": 1}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert_eq!((server.channels(), server.messages("tools/call").len()), (1, 1));
}

#[test]
fn a_legacy_client_is_served_as_ever_whatever_was_said_of_it() {
    let pki = Pki::new();
    for server in both(&pki) {
        let mut client = Client::start(&server.bridge(&pki).args(["--protocol", "legacy"]));
        client.handshake();
        let id = client.call("ask", json!({}));
        let asked = client.server_request("elicitation/create");
        client.respond(&asked, json!({"action": "decline"}));
        assert_eq!(client.result(&id)["structuredContent"], json!({"action": "decline"}));
        assert_eq!(client.finish(), [] as [Value; 0]);
        assert_eq!((server.channels(), server.messages("initialize").len()), (1, 1));
    }
}

#[test]
fn a_modern_client_is_asked_through_the_call_that_is_open() {
    let pki = Pki::new();
    for server in both(&pki) {
        let mut client = modern_client(&pki, &server);
        let id = call(&mut client, "ask", &json!({}));
        let required = client.result(&id);
        let params = json!({"message": "which?", "requestedSchema": {"type": "object"}});
        let input = json!({"method": "elicitation/create", "params": params});
        assert_eq!(required["inputRequests"], json!({"input-1": input}));
        let answer = json!({"action": "accept", "content": {"it": "this"}});
        let said = json!({"input-1": answer});
        let again = retry(&mut client, "ask", &json!({}), &required, said);
        assert_eq!(client.result(&again)["structuredContent"], answer);
        // One that is given up while it is asked.
        let id = call(&mut client, "ask", &json!({"n": 2}));
        client.result(&id);
        client.notify("notifications/cancelled", json!({"requestId": id}));
        server.wait_for("cancelled", |message| message["method"] == "notifications/cancelled");
        server.wait_for("an error", |message| message["error"]["code"] == -32_603);
        // And one that has no question.
        let id = call(&mut client, "hold", &json!({}));
        server.wait_for_call("hold");
        client.notify("notifications/cancelled", json!({"requestId": id}));
        let held = server.wait_for_call("hold")["id"].clone();
        server.wait_for("cancelled", |message| message["params"]["requestId"] == held);
        assert_eq!(client.finish(), [] as [Value; 0]);
    }
}

#[test]
fn a_channel_that_breaks_in_the_midst_of_a_question_answers_the_retry_once() {
    let pki = Pki::new();
    for server in both(&pki) {
        let mut client = modern_client(&pki, &server);
        let id = call(&mut client, "ask", &json!({}));
        let required = client.result(&id);
        server.lose(Said::Break);
        server.wait_for_channels(2);
        let said = json!({"input-1": {"action": "cancel"}});
        let again = retry(&mut client, "ask", &json!({}), &required, said);
        let error = client.error(&again);
        assert!(error["message"].as_str().unwrap().contains("outcome unknown"), "{error}");
        let id = call(&mut client, "echo", &json!({"n": 1}));
        assert_eq!(client.result(&id)["structuredContent"], json!({"n": 1}));
        assert_eq!(client.finish(), [] as [Value; 0]);
        assert_eq!(server.messages("tools/call").len(), 2, "a call is never made twice");
    }
}
