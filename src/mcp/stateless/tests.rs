//! The stateless era as tables: what comes in, what must go out, by clauses of 2026-07-28.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::Stateless;
use crate::{
    failure::{Failure, Stage},
    mcp::{
        exchange::{Awaits, Command, End, Event, ExchangeId, Limits, Position, Timer},
        message::Message,
        refusal::Refusal,
    },
};

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;

fn message(text: &str) -> Message {
    Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

fn request(id: u32, method: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{META}}}}}"#)
}

fn call(id: u32, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"run","arguments":{arguments},{META}}}}}"#
    )
}

fn result(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete"}}}}"#)
}

fn error(id: &str, code: i64) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"no"}}}}"#)
}

/// A list with the tool `run`, whose argument `a` goes into the header `Mcp-Param-NAME`.
fn tools(id: &str, header: &str, next: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{{"name":"run","inputSchema":{{"type":"object","properties":{{"a":{{"type":"string","x-mcp-header":"{header}"}}}}}}}}]{next}}}}}"#
    )
}

fn refused(status: u16, body: &str) -> End {
    End::Refused(Box::new(Refusal {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        carried: Arc::new([]),
        presented: None,
    }))
}

/// What a command was, for comparison.
#[derive(Debug, PartialEq)]
enum Did {
    /// The exchange, and the headers.
    Post(ExchangeId, String),
    Deliver(String),
    Cancel(ExchangeId),
    Probe,
    Finished,
}

struct Table(Stateless);

impl Table {
    fn new() -> Self {
        let limits = Limits { in_flight: 4, idle: Duration::from_secs(300) };
        Self(Stateless::new("https://gw", limits, 0))
    }

    fn on(&mut self, event: Event) -> Vec<Did> {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let said = |command| match command {
            Command::Post { exchange, context, .. } => {
                let version = context.version.map(|it| it.to_str().unwrap().to_owned());
                let mirrored = context.mirrored.iter().flatten();
                let mirrored =
                    mirrored.map(|(name, value)| format!("{name}={}", value.to_str().unwrap()));
                let all: Vec<String> = version.into_iter().chain(mirrored).collect();
                Did::Post(exchange, all.join(" "))
            }
            Command::Deliver(line) => Did::Deliver(text(line)),
            Command::Cancel(exchange) => Did::Cancel(exchange),
            Command::After(_, Timer::Probe(_)) => Did::Probe,
            Command::Finished => Did::Finished,
            other => panic!("{other:?}"),
        };
        self.0.handle(event).into_iter().map(said).collect()
    }

    fn client(&mut self, text: &str) -> Vec<Did> {
        self.on(Event::FromClient(message(text)))
    }

    /// The exchange that a request was posted on.
    fn posts(&mut self, text: &str) -> ExchangeId {
        posted(&self.client(text))
    }

    fn server(&mut self, exchange: ExchangeId, text: &str) -> Vec<Did> {
        self.on(Event::FromServer(exchange, message(text)))
    }

    fn end(&mut self, exchange: ExchangeId, end: End) -> Vec<Did> {
        self.on(Event::Ended(exchange, end, Position::default()))
    }

    fn cancels(&mut self, id: u32) -> Vec<Did> {
        self.client(&format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#
        ))
    }
}

fn posted(did: &[Did]) -> ExchangeId {
    let post = did.iter().find_map(|did| match did {
        Did::Post(exchange, _) => Some(*exchange),
        _ => None,
    });
    post.unwrap_or_else(|| panic!("nothing is posted: {did:?}"))
}

/// What is said to the client, and that it is one line.
fn said(did: &[Did]) -> &str {
    match did {
        [Did::Deliver(line)] => line,
        _ => panic!("{did:?}"),
    }
}

fn over() -> End {
    End::Complete { accepted: false }
}

/// streamable-http, "Standard Request Headers": each request is a POST of its own, with headers.
#[test]
fn requests_are_posts_whose_headers_repeat_their_body() {
    let mut table = Table::new();
    let did = table.client(&call(1, r#"{"a":"x"}"#));
    let [Did::Post(first, headers)] = &did[..] else { panic!("{did:?}") };
    assert_eq!(headers, "2026-07-28 mcp-method=tools/call mcp-name=run");
    let second = table.posts(&request(2, "prompts/list"));
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#;
    assert_eq!(table.server(*first, progress), [Did::Deliver(progress.to_owned())]);
    assert_eq!(table.server(second, &result(2)), [Did::Deliver(result(2))]);
    assert_eq!(table.server(*first, &result(1)), [Did::Deliver(result(1))]);
    assert_eq!(table.server(*first, &result(1)), [], "a second answer");
    assert_eq!(table.end(*first, over()), []);
}

/// streamable-http, "Custom Headers from Tool Parameters".
#[test]
fn annotations_are_learned_from_the_list_that_passes() {
    let mut table = Table::new();
    let list = table.posts(&request(1, "tools/list"));
    assert_eq!(table.server(list, &tools("1", "A", "")), [Did::Deliver(tools("1", "A", ""))]);
    let did = table.client(&call(2, r#"{"a":"x"}"#));
    let headers = "2026-07-28 mcp-method=tools/call mcp-name=run mcp-param-a=x";
    assert!(matches!(&did[..], [Did::Post(_, it)] if it == headers), "{did:?}");
}

#[test]
fn a_tool_with_a_bad_annotation_is_left_out() {
    let mut table = Table::new();
    let list = table.posts(&request(1, "tools/list"));
    let did = table.server(list, &tools("1", "", ""));
    assert_eq!(said(&did), r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#);
}

/// streamable-http, "Client Behavior": list again, then retry.
#[test]
fn a_call_refused_for_its_headers_is_sent_once_more_with_those_of_a_new_list() {
    let mut table = Table::new();
    let first = table.posts(&call(1, r#"{"a":"x"}"#));
    let list = table.end(first, refused(400, &error("1", -32_020)));
    assert!(matches!(&list[..], [Did::Post(_, it)] if it.contains("tools/list")), "{list:?}");
    assert!(!table.0.settled(posted(&list)), "it has the time that an answer has");
    let next =
        table.server(posted(&list), &tools("\"countersign-list\"", "B", r#","nextCursor":"c""#));
    assert!(matches!(&next[..], [Did::Post(_, it)] if it.contains("tools/list")), "{next:?}");
    let again = table.server(posted(&next), &tools("\"countersign-list\"", "A", ""));
    assert!(matches!(&again[..], [Did::Post(_, it)] if it.ends_with("mcp-param-a=x")), "{again:?}");
    // Once is enough.
    let did = table.end(posted(&again), refused(400, &error("1", -32_020)));
    assert_eq!(said(&did), error("1", -32_020));
}

#[test]
fn a_call_whose_headers_stay_the_same_gets_the_error() {
    for answer in [Some(tools("\"countersign-list\"", "A", "")), None] {
        let mut table = Table::new();
        let list = table.posts(&request(9, "tools/list"));
        table.server(list, &tools("9", "A", ""));
        let first = table.posts(&call(1, r#"{"a":"x"}"#));
        let relist = posted(&table.end(first, refused(400, &error("1", -32_020))));
        let did = match answer {
            Some(answer) => table.server(relist, &answer),
            None => table.end(relist, refused(500, "")),
        };
        assert_eq!(said(&did), error("1", -32_020));
    }
}

#[test]
fn what_is_cancelled_while_it_waits_for_the_list_is_forgotten() {
    let mut table = Table::new();
    let first = table.posts(&call(1, r#"{"a":"x"}"#));
    let list = posted(&table.end(first, refused(400, &error("1", -32_020))));
    assert_eq!(table.cancels(1), []);
    assert_eq!(table.server(list, &tools("\"countersign-list\"", "A", "")), []);
    assert_eq!(table.on(Event::ClientClosed), [Did::Finished]);
}

/// cancellation, "Transport-Specific Cancellation".
#[test]
fn a_cancelled_request_is_a_stream_that_is_closed() {
    let mut table = Table::new();
    let exchange = table.posts(&call(1, "{}"));
    assert_eq!(table.cancels(1), [Did::Cancel(exchange)]);
    assert_eq!(table.server(exchange, &result(1)), []);
    assert_eq!(table.cancels(1), [], "unknown ids are ignored");
    // The id is free again.
    table.posts(&call(1, "{}"));
}

/// subscriptions.
#[test]
fn a_subscription_is_a_long_post() {
    let mut table = Table::new();
    let commands = table.0.handle(Event::FromClient(message(&request(1, "subscriptions/listen"))));
    let Some(Command::Post { exchange, awaits: Awaits::Stream, .. }) = commands.first() else {
        panic!("{commands:?}")
    };
    let exchange = *exchange;
    let acknowledged = r#"{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged"}"#;
    assert_eq!(table.server(exchange, acknowledged), [Did::Deliver(acknowledged.to_owned())]);
    assert!(!table.0.settled(exchange));
    assert_eq!(table.server(exchange, &result(1)), [Did::Deliver(result(1))]);
    assert!(table.0.settled(exchange));

    for end in [over(), End::Broken(Failure::new(Stage::Send, "it broke"))] {
        let exchange = table.posts(&request(2, "subscriptions/listen"));
        let did = table.end(exchange, end);
        assert!(said(&did).contains("subscribe again"), "{did:?}");
    }
}

#[test]
fn at_the_end_subscriptions_are_closed_and_calls_awaited() {
    let mut table = Table::new();
    let subscription = table.posts(&request(1, "subscriptions/listen"));
    let call = table.posts(&call(2, "{}"));
    assert_eq!(table.on(Event::ClientClosed), [Did::Cancel(subscription)]);
    assert_eq!(table.server(call, &result(2)), [Did::Deliver(result(2)), Did::Finished]);
}

#[test]
fn what_has_no_answer_in_time_is_told_so() {
    let mut table = Table::new();
    let exchange = table.posts(&call(1, "{}"));
    let did = table.on(Event::Expired);
    let [Did::Deliver(line), Did::Cancel(cancelled), Did::Finished] = &did[..] else {
        panic!("{did:?}")
    };
    assert!(line.contains("shut down") && *cancelled == exchange, "{line}");
}

/// Promise 1: whatever the end, one answer; and promise 4: it says whether the request may have run.
#[test]
fn every_end_is_an_answer() {
    for (end, words) in [
        (over(), "may have run"),
        (End::Broken(Failure::new(Stage::Send, "it broke")), "outcome unknown"),
        (End::Broken(Failure::new(Stage::Connect, "no way")), "no way"),
        (End::Idle(Duration::from_secs(5)), "sent no byte for 5s"),
        (refused(502, ""), "look at its log"),
        (refused(401, ""), "refused the credentials"),
        (refused(404, "<title>nothing</title>"), "404"),
    ] {
        let mut table = Table::new();
        let exchange = table.posts(&call(1, "{}"));
        let did = table.end(exchange, end);
        assert!(said(&did).contains(words), "{words}: {did:?}");
        assert_eq!(table.on(Event::ClientClosed), [Did::Finished]);
    }
}

/// streamable-http, "Protocol Version Header": 404 with -32601; versioning: the server's own list of
/// versions is the client's to read.
#[test]
fn errors_of_the_server_pass_as_they_are() {
    for (status, id, code) in
        [(404, "1", -32_601), (400, "1", -32_022), (400, "1", -32_021), (400, "1", 7)]
    {
        let mut table = Table::new();
        let exchange = table.posts(&call(1, "{}"));
        assert_eq!(said(&table.end(exchange, refused(status, &error(id, code)))), error("1", code));
    }
    // One that could not name its request is given its id.
    let mut table = Table::new();
    let exchange = table.posts(&call(1, "{}"));
    assert_eq!(
        said(&table.end(exchange, refused(400, &error("null", -32_022)))),
        error("1", -32_022)
    );
    let exchange = table.posts(&call(2, "{}"));
    assert_eq!(said(&table.server(exchange, &error("null", 7))), error("2", 7));
}

/// stdio, "Backward Compatibility": what a probe's answer shows.
#[test]
fn a_probe_is_refused_where_the_upstream_is_of_the_other_era() {
    let probe = request(1, "server/discover");
    let old = |did: &[Did]| said(did).contains("-32601") && said(did).contains("initialize");
    for (status, body) in [
        (400, String::new()),
        (404, "not here".to_owned()),
        (405, String::new()),
        (400, error("null", -32_000)),
        (400, error("1", -32_600)),
    ] {
        let mut table = Table::new();
        let exchange = table.posts(&probe);
        let did = table.end(exchange, refused(status, &body));
        assert!(old(&did), "{status} {body}: {did:?}");
        // It is remembered.
        assert!(old(&table.client(&probe)));
    }
    for code in [-32_601, -32_602, 0] {
        let mut table = Table::new();
        let exchange = table.posts(&probe);
        let did = table.server(exchange, &error("1", code));
        assert!(old(&did), "{code}: {did:?}");
    }
    // What is no `DiscoverResult` says no more.
    for result in ["{}", "null", r#"{"tools":[]}"#] {
        let mut table = Table::new();
        let exchange = table.posts(&probe);
        let said = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        let did = table.server(exchange, &said);
        assert!(old(&did), "{result}: {did:?}");
    }
}

#[test]
fn a_probe_that_shows_nothing_of_the_era_is_answered_and_forgotten() {
    for end in
        [refused(401, ""), refused(503, ""), End::Broken(Failure::new(Stage::Connect, "down"))]
    {
        let mut table = Table::new();
        let did = table.client(&request(1, "server/discover"));
        assert!(did.contains(&Did::Probe), "{did:?}");
        let did = table.end(posted(&did), end);
        assert!(!said(&did).contains("-32601"), "{did:?}");
        assert!(table.client(&request(1, "server/discover")).contains(&Did::Probe));
    }
}

#[test]
fn a_server_that_is_silent_to_a_probe_is_an_old_one() {
    let mut table = Table::new();
    let exchange = table.posts(&request(1, "server/discover"));
    let did = table.on(Event::Elapsed(Timer::Probe(exchange)));
    let [Did::Cancel(cancelled), Did::Deliver(line)] = &did[..] else { panic!("{did:?}") };
    assert!(*cancelled == exchange && line.contains("-32601"), "{line}");
    assert_eq!(table.on(Event::Elapsed(Timer::Probe(exchange))), []);
}

#[test]
fn a_modern_answer_is_remembered_too() {
    let mut table = Table::new();
    let exchange = table.posts(&request(1, "server/discover"));
    assert_eq!(table.server(exchange, &result(1)), [Did::Deliver(result(1))]);
    let did = table.client(&request(2, "server/discover"));
    assert!(matches!(&did[..], [Did::Post(..)]), "no probe any more: {did:?}");
}

#[test]
fn what_this_era_does_not_have_is_refused_or_dropped() {
    let mut table = Table::new();
    let batch = format!("[{},{}]", request(1, "a"), request(2, "b"));
    let did = table.client(&batch);
    assert!(
        matches!(&did[..], [Did::Deliver(one), Did::Deliver(_)] if one.contains("-32600")),
        "{did:?}"
    );
    assert_eq!(table.client(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#), []);
    table.posts(&request(1, "a"));
    assert!(said(&table.client(&request(1, "a"))).contains("already in flight"));
    for id in 2..5 {
        table.posts(&request(id, "a"));
    }
    assert!(said(&table.client(&request(5, "a"))).contains("more than 4"));
}
