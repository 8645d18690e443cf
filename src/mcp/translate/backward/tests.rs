//! A modern client before a legacy server as tables: what comes in, what must go out, by clauses of
//! 2026-07-28.
#![allow(clippy::unwrap_used, clippy::panic)]

mod asking;
mod cancelling;
mod channels;
mod events;
mod opening;
mod passing;
mod required;
mod subscribing;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::Backward;
use crate::mcp::{
    exchange::{Command, End, Event, ExchangeId, Limits, Position, Timer},
    message::Message,
    refusal::Refusal,
};

/// Where names begin in these tests.
const FIRST: u64 = 1 << 60;
/// All that a client can be asked.
const ALL: &str = r#"{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{}}"#;

/// What a command was, for comparison.
#[derive(Debug, PartialEq)]
enum Did {
    Post(ExchangeId, Value),
    Listen(ExchangeId),
    Deliver(Value),
    Connect(ExchangeId),
    Close(ExchangeId),
    Cancel(ExchangeId),
    After(Timer),
    End,
    Finished,
}

struct Table {
    machine: Backward,
    /// The GET stream of the session that was opened last.
    stream: ExchangeId,
}

fn value(bytes: &Bytes) -> Value {
    assert!(!bytes.contains(&b'\n'), "one line: {bytes:?}");
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {bytes:?}"))
}

fn meta(capabilities: &str) -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "tester", "version": "7" },
        "io.modelcontextprotocol/clientCapabilities":
            serde_json::from_str::<Value>(capabilities).unwrap(),
    })
}

/// A modern request of a client with these capabilities.
fn by(capabilities: &str, id: impl Into<Value>, method: &str, params: Value) -> Value {
    let mut params = params;
    let mut all = meta(capabilities);
    if let Some(more) = params["_meta"].as_object() {
        all.as_object_mut().unwrap().extend(more.clone());
    }
    params["_meta"] = all;
    json!({ "jsonrpc": "2.0", "id": id.into(), "method": method, "params": params })
}

fn request(id: impl Into<Value>, method: &str, params: Value) -> Value {
    by(ALL, id, method, params)
}

fn call(id: u32) -> Value {
    request(id, "tools/call", json!({ "name": "run", "arguments": { "a": 1 } }))
}

fn cancel(id: u32) -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id, "reason": "enough" } })
}

fn result(id: &Value, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

fn error(id: &Value, code: i64) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": "no" } })
}

/// A question of the server.
fn elicit(id: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "elicitation/create",
        "params": { "message": id, "requestedSchema": { "type": "object", "properties": {} } } })
}

fn capabilities() -> Value {
    json!({
        "tools": { "listChanged": true }, "resources": { "listChanged": false, "subscribe": true },
        "prompts": {}, "logging": {}, "tasks": { "list": {} }
    })
}

fn refused(status: u16) -> End {
    End::Refused(Box::new(Refusal {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        carried: Arc::new([]),
        presented: None,
    }))
}

impl Table {
    fn new() -> Self {
        let limits = Limits { in_flight: 6, idle: Duration::from_secs(300) };
        let machine = Backward::new("https://gw", limits, FIRST, &[7; 32]);
        Self { machine, stream: ExchangeId(0) }
    }

    /// One whose session stands, opened by `server/discover`.
    fn ready() -> Self {
        let mut table = Self::new();
        let did = table.client(&request("open", "server/discover", json!({})));
        let did = table.stands(&did);
        assert!(delivered(&did)[0]["result"]["supportedVersions"].is_array(), "{did:?}");
        table
    }

    fn on(&mut self, event: Event) -> Vec<Did> {
        let commands = self.machine.handle(event).into_iter();
        let did = commands.map(|command| match command {
            Command::Post { exchange, body, .. } => Did::Post(exchange, value(&body)),
            Command::Listen { exchange, .. } => Did::Listen(exchange),
            Command::Deliver(line) => Did::Deliver(value(&line)),
            Command::Cancel(exchange) => Did::Cancel(exchange),
            Command::After(_, timer) => Did::After(timer),
            Command::End(_) => Did::End,
            Command::Finished => Did::Finished,
            Command::Connect(exchange) => Did::Connect(exchange),
            Command::Send(exchange, body) => Did::Post(exchange, value(&body)),
            Command::Close(exchange) => Did::Close(exchange),
        });
        did.collect()
    }

    fn client(&mut self, said: &Value) -> Vec<Did> {
        self.on(Event::FromClient(message(said)))
    }

    fn server(&mut self, exchange: ExchangeId, said: &Value) -> Vec<Did> {
        self.on(Event::FromServer(exchange, message(said)))
    }

    fn over(&mut self, exchange: ExchangeId, accepted: bool) -> Vec<Did> {
        self.on(Event::Ended(exchange, End::Complete { accepted }, Position::default()))
    }

    /// Answers the `initialize` among `did` and goes on until the session stands; returns what was done
    /// then.
    fn stands(&mut self, did: &[Did]) -> Vec<Did> {
        let (exchange, said) = posted(did);
        assert_eq!(said["method"], "initialize");
        self.on(Event::Head(exchange, Some(HeaderValue::from_static("s"))));
        let agreed = json!({
            "protocolVersion": "2025-11-25", "capabilities": capabilities(),
            "serverInfo": { "name": "old", "version": "1.0" }, "instructions": "be kind"
        });
        let mut all = self.server(exchange, &result(&said["id"], agreed));
        self.over(exchange, false);
        let (confirm, said) = posted(&all);
        assert_eq!(said, json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        let did = self.over(confirm, true);
        let stream = did.iter().find_map(|did| match did {
            Did::Listen(exchange) => Some(*exchange),
            _ => None,
        });
        self.stream = stream.unwrap();
        all.retain(|did| matches!(did, Did::Deliver(_)));
        all.extend(self.on(Event::Head(self.stream, None)));
        all
    }

    /// A call that has got to the server: its exchange, and the id that it has there.
    fn calls(&mut self, said: &Value) -> (ExchangeId, Value) {
        let did = self.client(said);
        let (exchange, said) = posted(&did);
        (exchange, said["id"].clone())
    }

    /// The question that the call of the client's id 1 was answered with.
    fn asks(&mut self, exchange: ExchangeId, question: &Value) -> Value {
        let did = self.server(exchange, question);
        let [Did::Deliver(asked), Did::After(Timer::Held(_))] = &did[..] else { panic!("{did:?}") };
        assert_eq!(asked["result"]["resultType"], "input_required");
        asked.clone()
    }
}

fn message(said: &Value) -> Message {
    Message::parse(Bytes::from(said.to_string())).unwrap()
}

/// The retry that answers all that was asked with `response`.
fn retry(of: &Value, id: u32, asked: &Value, response: &Value) -> Value {
    let mut retry = of.clone();
    retry["id"] = json!(id);
    retry["params"]["requestState"] = asked["result"]["requestState"].clone();
    let inputs = asked["result"]["inputRequests"].as_object().unwrap();
    retry["params"]["inputResponses"] =
        inputs.keys().map(|name| (name.clone(), response.clone())).collect();
    retry
}

fn accept() -> Value {
    json!({ "action": "accept", "content": { "x": 1 } })
}

/// The first thing that was posted.
fn posted(did: &[Did]) -> (ExchangeId, Value) {
    match did.iter().find(|did| matches!(did, Did::Post(..))) {
        Some(Did::Post(exchange, said)) => (*exchange, said.clone()),
        _ => panic!("nothing was posted: {did:?}"),
    }
}

fn posts(did: &[Did]) -> Vec<&Value> {
    did.iter()
        .filter_map(|did| if let Did::Post(_, said) = did { Some(said) } else { None })
        .collect()
}

fn delivered(did: &[Did]) -> Vec<&Value> {
    did.iter()
        .filter_map(|did| if let Did::Deliver(said) = did { Some(said) } else { None })
        .collect()
}

/// The one line that was said to the client, and nothing was done beside.
fn said(did: &[Did]) -> &Value {
    match did {
        [Did::Deliver(said)] => said,
        _ => panic!("{did:?}"),
    }
}

/// The code of the error that was said to the client.
fn code(did: &[Did]) -> (Value, i64) {
    let said = said(did);
    (said["id"].clone(), said["error"]["code"].as_i64().unwrap_or_else(|| panic!("{said}")))
}
