//! The same before servers behind one channel: HTTP+SSE of 2024-11-05, and WebSockets.

use http::Uri;

use super::*;
use crate::{
    failure::{Failure, Stage},
    mcp::exchange::Endpoint,
};

fn url() -> Uri {
    Uri::from_static("https://gw/sse")
}

fn channel(did: &[Did]) -> ExchangeId {
    let channel = did.iter().find_map(|did| match did {
        Did::Listen(exchange) | Did::Connect(exchange) => Some(*exchange),
        _ => None,
    });
    channel.unwrap_or_else(|| panic!("{did:?}"))
}

impl Table {
    fn of(change: impl FnOnce(Backward) -> Backward) -> Self {
        let Self { machine, stream } = Self::new();
        Self { machine: change(machine), stream }
    }

    /// The channel that was asked for opens; what is done then.
    fn opens(&mut self, did: &[Did]) -> Vec<Did> {
        let channel = channel(did);
        self.stream = channel;
        let mut did = self.on(Event::Head(channel, None));
        let (carried, secrets) = (Arc::new([]), Arc::new([]));
        let reference = Bytes::from_static(b"/post?s=1");
        did.extend(self.on(Event::Endpoint(channel, Endpoint { reference, carried, secrets })));
        did
    }

    /// Answers the `initialize` among `did`; what is done once the session is confirmed.
    fn greets(&mut self, did: &[Did]) -> Vec<Did> {
        let (_, said) = posted(did);
        assert_eq!(said["method"], "initialize", "{did:?}");
        let agreed = json!({ "protocolVersion": "2024-11-05", "capabilities": capabilities() });
        let mut did = self.server(self.stream, &result(&said["id"], agreed));
        let (confirm, _) = posted(&did);
        if confirm != self.stream {
            did.extend(self.over(confirm, true));
        }
        did
    }

    /// Puts a question through the call that `did` has posted, and has it answered.
    fn converses(&mut self, did: &[Did]) {
        let sent = posts(did).into_iter().find(|said| said["method"] == "tools/call").unwrap();
        let id = sent["id"].clone();
        let did = self.server(self.stream, &elicit("q"));
        let asked = delivered(&did)[0].clone();
        assert_eq!(
            (&asked["id"], &asked["result"]["resultType"]),
            (&json!(1), &json!("input_required"))
        );
        let did = self.client(&retry(&call(1), 2, &asked, &accept()));
        assert_eq!(*posts(&did)[0], result(&json!("q"), accept()));
        let did = self.server(self.stream, &result(&id, json!({ "content": [] })));
        assert_eq!(
            (&said(&did)["id"], &said(&did)["result"]["resultType"]),
            (&json!(2), &json!("complete"))
        );
    }
}

/// 2025-11-25 basic/transports, "Backwards Compatibility".
#[test]
fn a_server_that_takes_no_posts_is_spoken_to_by_http_sse() {
    for status in [400, 404, 405] {
        let mut table = Table::of(|machine| machine.or_http_sse(url()));
        let (exchange, _) = posted(&table.client(&call(1)));
        let did = table.on(Event::Ended(exchange, refused(status), Position::default()));
        let did = table.opens(&did);
        let did = table.greets(&did);
        table.converses(&did);
    }
    // A refusal for another reason is one.
    let mut table = Table::of(|machine| machine.or_http_sse(url()));
    let (exchange, _) = posted(&table.client(&call(1)));
    let did = table.on(Event::Ended(exchange, refused(403), Position::default()));
    assert_eq!(code(&did).0, 1);
}

#[test]
fn what_both_ways_refuse_is_an_error_and_the_next_request_begins_anew() {
    let mut table = Table::of(|machine| machine.or_http_sse(url()));
    let (exchange, _) = posted(&table.client(&call(1)));
    let did = table.on(Event::Ended(exchange, refused(405), Position::default()));
    let did = table.on(Event::Ended(channel(&did), refused(404), Position::default()));
    assert_eq!(delivered(&did)[0]["id"], 1);
    assert_eq!(posted(&table.client(&call(2))).1["method"], "initialize", "by POST again");
}

#[test]
fn a_call_over_a_websocket() {
    let mut table = Table::of(Backward::over_websocket);
    let did = table.client(&call(1));
    assert!(did.iter().any(|did| matches!(did, Did::Connect(_))), "{did:?}");
    let did = table.opens(&did);
    let did = table.greets(&did);
    table.converses(&did);
    let did = table.on(Event::ClientClosed);
    assert!(did.contains(&Did::Close(table.stream)), "{did:?}");
    assert_eq!(did.last(), Some(&Did::Finished));
}

#[test]
fn resources_are_watched_again_on_the_next_channel() {
    let mut table = Table::of(Backward::over_websocket);
    let did = table.client(&call(1));
    let did = table.opens(&did);
    let did = table.greets(&did);
    let id = posts(&did).last().unwrap()["id"].clone();
    table.server(table.stream, &result(&id, json!({})));
    let filter = json!({ "notifications": { "resourceSubscriptions": ["a"] } });
    let did = table.client(&request(2, "subscriptions/listen", filter));
    table.server(table.stream, &result(&posted(&did).1["id"], json!({})));
    let broken = End::Broken(Failure::new(Stage::Response, "it broke"));
    let did = table.on(Event::Ended(table.stream, broken, Position::default()));
    let did = table.opens(&did);
    let did = table.greets(&did);
    let again = posts(&did).last().copied().unwrap();
    assert_eq!(
        (&again["method"], &again["params"]["uri"]),
        (&json!("resources/subscribe"), &json!("a"))
    );
}

#[test]
fn the_end_comes_while_it_falls_back() {
    let mut table = Table::of(|machine| machine.or_http_sse(url()));
    let (exchange, _) = posted(&table.client(&call(1)));
    assert_eq!(table.on(Event::ClientClosed), []);
    let did = table.on(Event::Ended(exchange, refused(405), Position::default()));
    let did = table.on(Event::Ended(channel(&did), refused(405), Position::default()));
    assert_eq!(delivered(&did)[0]["id"], 1);
    assert_eq!(did.last(), Some(&Did::Finished));
}
