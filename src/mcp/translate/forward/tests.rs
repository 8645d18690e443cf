//! A legacy client before a modern server as tables: what comes in, what must go out, by clauses of
//! 2026-07-28 and of the revisions before it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod input;
mod opening;
mod orders;
mod subscription;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::Forward;
use crate::{
    failure::{Failure, Stage},
    mcp::{
        exchange::{Command, End, Event, ExchangeId, Limits, Position, Timer},
        message::Message,
        refusal::Refusal,
        translate::odd,
    },
};

/// What a command was, for comparison.
#[derive(Clone, Debug, PartialEq)]
enum Did {
    Post(ExchangeId, Value),
    Deliver(String),
    Cancel(ExchangeId),
    After(Duration, Timer),
    Finished,
}

struct Table(Forward);

const CAPABILITIES: &str = r#"{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

fn request(id: u32, method: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#)
}

fn call(id: u32) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"run","arguments":{{"a":1.0}},"_meta":{{"progressToken":"p"}}}}}}"#
    )
}

fn initialize(id: u32, capabilities: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"initialize","params":{{"protocolVersion":"2025-06-18","clientInfo":{{"name":"c","version":"1"}},"capabilities":{capabilities}}}}}"#
    )
}

fn result(id: &Value, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

fn error(id: &Value, code: i64, data: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"no","data":{data}}}}}"#
    )
}

fn discovered(id: &Value, capabilities: &str) -> String {
    let info = r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"2"}}"#;
    result(
        id,
        &format!(
            r#"{{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{capabilities},{info},"instructions":"be good","ttlMs":1,"cacheScope":"public"}}"#
        ),
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

impl Table {
    fn new() -> Self {
        let limits = Limits { in_flight: 4, idle: Duration::from_secs(300) };
        Self(Forward::new("https://gw", limits, 0))
    }

    /// One whose client, with `CAPABILITIES`, has been answered by a server with these.
    fn initialized(capabilities: &str) -> Self {
        let mut table = Self::new();
        let (exchange, body) = posted(&table.client(&initialize(0, CAPABILITIES)));
        let did = table.server(exchange, &discovered(&body["id"], capabilities));
        assert!(said(&did).contains("protocolVersion"), "{did:?}");
        table
    }

    fn on(&mut self, event: Event) -> Vec<Did> {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let did = |command| match command {
            Command::Post { exchange, body, .. } => {
                Did::Post(exchange, serde_json::from_slice(&body).unwrap())
            }
            Command::Deliver(line) => Did::Deliver(text(line)),
            Command::Cancel(exchange) => Did::Cancel(exchange),
            Command::After(pause, timer) => Did::After(pause, timer),
            Command::Finished => Did::Finished,
            other => panic!("{other:?}"),
        };
        let probe = |did: &Did| !matches!(did, Did::After(_, Timer::Probe(_)));
        self.0.handle(event).into_iter().map(did).filter(probe).collect()
    }

    fn client(&mut self, text: &str) -> Vec<Did> {
        let message = Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap();
        self.on(Event::FromClient(message))
    }

    fn server(&mut self, exchange: ExchangeId, text: &str) -> Vec<Did> {
        let message = Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap();
        self.on(Event::FromServer(exchange, message))
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

fn posted(did: &[Did]) -> (ExchangeId, Value) {
    let post = did.iter().find_map(|did| match did {
        Did::Post(exchange, body) => Some((*exchange, body.clone())),
        _ => None,
    });
    post.unwrap_or_else(|| panic!("nothing is posted: {did:?}"))
}

/// What is said to the client, and that nothing else is done.
fn said(did: &[Did]) -> &str {
    match did {
        [Did::Deliver(line)] => line,
        _ => panic!("{did:?}"),
    }
}

/// basic, "_meta"; progress; logging, "Per-request log level".
#[test]
fn requests_say_all_of_themselves_and_keep_what_they_said() {
    let mut table = Table::initialized("{}");
    let level = r#"{"jsonrpc":"2.0","id":2,"method":"logging/setLevel","params":{"level":"info"}}"#;
    assert_eq!(said(&table.client(level)), result(&json!(2), "{}"));
    let (exchange, body) = posted(&table.client(&call(1)));
    assert_eq!(
        body["params"],
        json!({"name": "run", "arguments": {"a": 1.0}, "_meta": {
            "progressToken": "p",
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": serde_json::from_str::<Value>(CAPABILITIES).unwrap(),
            "io.modelcontextprotocol/logLevel": "info",
        }})
    );
    for notification in [
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1.0}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/x/unknown","params":{"_meta":{"a":1}}}"#,
    ] {
        assert_eq!(said(&table.server(exchange, notification)), notification);
    }
    let answer = r#"{"content":[ 1.0 ],"resultType":"complete","x":{"resultType":1}}"#;
    let did = table.server(exchange, &result(&json!(1), answer));
    assert_eq!(said(&did), result(&json!(1), r#"{"content":[ 1.0 ],"x":{"resultType":1}}"#));
    assert_eq!(table.server(exchange, &result(&json!(1), answer)), [], "a second answer");
}

/// What is not named by an edit keeps every byte, however large it is.
#[test]
fn large_results_are_not_serialised_again() {
    let odd = odd::members();
    let info = r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"2"}}"#;
    for (given, expected) in [
        (format!(r#"{{"resultType":"complete", {odd},{info}}}"#), format!("{{{odd}}}")),
        (format!(r#"{{ {odd} , "ttlMs":5, "cacheScope":"public" }}"#), format!("{{ {odd} }}")),
        (format!("{{{odd}}}"), format!("{{{odd}}}")),
    ] {
        let mut table = Table::initialized("{}");
        let (exchange, _) = posted(&table.client(&call(1)));
        let did = table.server(exchange, &result(&json!(1), &given));
        assert!(said(&did) == result(&json!(1), &expected), "its bytes have changed");
    }
}

/// changelog, major 5: what this era took away is answered here.
#[test]
fn what_the_server_does_not_have_any_more_is_answered_here() {
    let mut table = Table::new();
    assert_eq!(said(&table.client(&request(1, "ping"))), result(&json!(1), "{}"));
    for notification in [
        INITIALIZED,
        r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}"#,
        r#"{"jsonrpc":"2.0","id":"nobody asked","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"?"}}"#,
    ] {
        assert_eq!(table.client(notification), [], "{notification}");
    }
    let level = r#"{"jsonrpc":"2.0","id":2,"method":"logging/setLevel","params":{"level":"loud"}}"#;
    assert!(said(&table.client(level)).contains("-32602"));
}

#[test]
fn what_neither_era_defines_passes_and_gets_the_servers_answer() {
    let mut table = Table::initialized("{}");
    let (exchange, body) = posted(&table.client(&request(1, "tasks/list")));
    assert_eq!(body["method"], "tasks/list");
    let did = table.end(exchange, refused(404, &error(&json!(1), -32_601, "{}")));
    assert_eq!(said(&did), error(&json!(1), -32_601, "{}"));
    let (_, body) =
        posted(&table.client(r#"{"jsonrpc":"2.0","method":"notifications/x","params":{"a":1}}"#));
    assert_eq!(body["params"]["a"], 1);
    assert_eq!(body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    let odd = r#"{"jsonrpc":"2.0","id":2,"method":"x","params":[1]}"#;
    assert!(said(&table.client(odd)).contains("-32602"));
}

/// basic, "Error Codes"; resources, "Error Handling".
#[test]
fn errors_are_those_of_the_clients_era() {
    let mut table = Table::initialized("{}");
    let read = r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"a:b"}}"#;
    let (exchange, _) = posted(&table.client(read));
    let did = table.server(exchange, &error(&json!(1), -32_602, "{}"));
    assert_eq!(said(&did), error(&json!(1), -32_002, "{}"));
    let (exchange, _) = posted(&table.client(&call(2)));
    let lacking = error(&json!(2), -32_021, r#"{"requiredCapabilities":{"sampling":{}}}"#);
    let did = table.end(exchange, refused(400, &lacking));
    assert!(said(&did).contains("-32021") && said(&did).contains("declare: sampling"), "{did:?}");
}

/// changelog, minor 10: what clients of before would refuse as a whole.
#[test]
fn what_is_structured_is_an_object_as_it_was() {
    let mut table = Table::initialized("{}");
    let (exchange, _) = posted(&table.client(&request(1, "tools/list")));
    let list = r#"{"tools":[{"name":"a","inputSchema":{"type":"object"},"outputSchema":{"type":"array"}}],"ttlMs":1}"#;
    let did = table.server(exchange, &result(&json!(1), list));
    let list = r#"{"tools":[{"name":"a","inputSchema":{"type":"object"}}]}"#;
    assert_eq!(said(&did), result(&json!(1), list));
    let (exchange, _) = posted(&table.client(&call(2)));
    let content = r#"{"content":[],"structuredContent":null}"#;
    let did = table.server(exchange, &result(&json!(2), content));
    assert_eq!(said(&did), result(&json!(2), r#"{"content":[]}"#));
}

/// streamable-http, "Custom Headers from Tool Parameters", although the client knows nothing of them.
#[test]
fn annotated_arguments_are_headers() {
    let mut table = Table::initialized("{}");
    let (exchange, _) = posted(&table.client(&request(1, "tools/list")));
    let list = r#"{"tools":[{"name":"run","inputSchema":{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A"}}}}]}"#;
    table.server(exchange, &result(&json!(1), list));
    let text = call(2).replace("1.0", r#""x""#);
    let message = Message::parse(Bytes::from(text)).unwrap();
    let commands = table.0.handle(Event::FromClient(message));
    let [Command::Post { context, .. }] = &commands[..] else { panic!("{commands:?}") };
    let headers = context.mirrored.iter().flatten().map(|(name, _)| name.as_str());
    assert!(headers.eq(["mcp-method", "mcp-name", "mcp-param-a"]));
    assert_eq!(context.version.as_ref().unwrap(), "2026-07-28");
}

/// basic, "ResultType": "A value unrecognized by the client MUST be considered invalid".
#[test]
fn a_result_of_an_unknown_type_is_an_error() {
    let mut table = Table::initialized("{}");
    let (exchange, _) = posted(&table.client(&call(1)));
    let did = table.server(exchange, &result(&json!(1), r#"{"resultType":"task"}"#));
    assert!(said(&did).contains("type of result that is unknown"), "{did:?}");
}

/// mrtr: "The previous pattern of server-initiated requests is no longer supported".
#[test]
fn a_request_of_the_server_is_dropped() {
    let mut table = Table::initialized("{}");
    let (exchange, _) = posted(&table.client(&call(1)));
    assert_eq!(table.server(exchange, &request(9, "sampling/createMessage")), []);
}

/// 2025-03-26 basic, "Batching": "may be sent in any order" and one by one.
#[test]
fn a_batch_is_taken_apart() {
    let mut table = Table::initialized("{}");
    let did = table.client(&format!("[{},{},{}]", call(1), request(2, "ping"), INITIALIZED));
    assert!(matches!(&did[..], [Did::Post(..), Did::Deliver(_)]), "{did:?}");
    let did = table.server(posted(&did).0, &result(&json!(1), "{}"));
    assert_eq!(said(&did), result(&json!(1), "{}"));
}

#[test]
fn what_can_not_be_taken_is_refused() {
    let mut table = Table::initialized("{}");
    for id in 1..5 {
        posted(&table.client(&call(id)));
    }
    assert!(said(&table.client(&call(1))).contains("already in flight"));
    assert!(said(&table.client(&call(5))).contains("more than 4"));
}

/// An id that one of ours has towards the server is another one there.
#[test]
fn ids_can_not_clash() {
    let mut table = Table::new();
    let (exchange, _) = posted(&table.client(&call(1)));
    let again = refused(400, &error(&json!(1), -32_022, r#"{"supported":["2026-07-28"]}"#));
    let (first, ours) = posted(&table.end(exchange, again));
    let same = format!(r#"{{"jsonrpc":"2.0","id":{},"method":"tools/list"}}"#, ours["id"]);
    let (second, theirs) = posted(&table.client(&same));
    assert_ne!(ours["id"], theirs["id"]);
    let did = table.server(second, &result(&theirs["id"], r#"{"tools":[]}"#));
    assert_eq!(said(&did), result(&ours["id"], r#"{"tools":[]}"#));
    let did = table.server(first, &result(&ours["id"], "{}"));
    assert_eq!(said(&did), result(&json!(1), "{}"));
}

/// cancellation, "Transport-Specific Cancellation".
#[test]
fn a_cancelled_request_is_closed_and_gets_no_answer() {
    let mut table = Table::initialized("{}");
    let (exchange, _) = posted(&table.client(&call(1)));
    assert_eq!(table.cancels(1), [Did::Cancel(exchange)]);
    assert_eq!(table.server(exchange, &result(&json!(1), "{}")), []);
    assert_eq!(table.cancels(1), [], "it is gone");
    // Its id is free again.
    posted(&table.client(&call(1)));
}

#[test]
fn at_the_end_calls_are_awaited_and_what_has_no_answer_in_time_is_told_so() {
    let mut table = Table::new();
    let (first, _) = posted(&table.client(&call(1)));
    let (second, _) = posted(&table.client(&call(2)));
    assert_eq!(table.on(Event::ClientClosed), []);
    assert_eq!(
        table.server(first, &result(&json!(1), "{}")),
        [Did::Deliver(result(&json!(1), "{}"))]
    );
    assert_eq!(table.end(first, End::Complete { accepted: false }), []);
    let did = table.on(Event::Expired);
    let [Did::Deliver(line), Did::Cancel(cancelled), Did::Finished] = &did[..] else {
        panic!("{did:?}")
    };
    assert!(line.contains("shut down") && *cancelled == second, "{line}");
    assert_eq!(Table::new().on(Event::ClientClosed), [Did::Finished]);
}

/// A response needs no more patience once its request is answered, and a subscription's does.
#[test]
fn exchanges_are_settled_once_their_request_is_answered() {
    let mut table = Table::initialized(r#"{"tools":{"listChanged":true}}"#);
    let (stream, _) = posted(&table.client(INITIALIZED));
    let (exchange, _) = posted(&table.client(&call(1)));
    assert!(!table.0.settled(exchange) && !table.0.settled(stream));
    table.server(exchange, &result(&json!(1), "{}"));
    assert!(table.0.settled(exchange) && !table.0.settled(stream));
}
