//! Spans in protobuf: the few messages of OTLP 1.x that are sent, with the numbers of its definition.
//!
//! The names of attributes are those of the semantic conventions (HTTP, MCP) where they have one. No
//! value is a header, a path that a caller asked for, or an argument of a tool.

use std::time::{Duration, SystemTime};

use prost::{Message, Oneof};

use super::Finished;
use crate::{ledger::Outcome, sidecar::route::Route};

/// `SPAN_KIND_SERVER`.
const SERVER: i32 = 2;
/// `STATUS_CODE_ERROR`.
const ERROR: i32 = 2;
/// The trace is sampled; and it is known whether the parent is of another process.
const FLAGS: u32 = 0x101;
/// It is.
const REMOTE: u32 = 0x200;

/// `ExportTraceServiceRequest`.
#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

/// `InstrumentationScope`.
#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "3")]
    code: i32,
}

/// `KeyValue`.
#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 3")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

/// `ExportTraceServiceResponse`.
#[derive(Clone, PartialEq, Message)]
struct Taken {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
}

/// How many spans the collector did not take of those that it answered with success.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    // What is no such message, as from a proxy between, says nothing of any.
    let taken = Taken::decode(answer).ok().and_then(|it| it.partial_success);
    taken.map_or(0, |it| it.rejected_spans.try_into().unwrap_or(0))
}

/// Knows what a span says of its route.
pub(super) struct Encoder(Vec<Taking>);

struct Taking {
    name: String,
    /// Where its paths begin here.
    path: String,
    /// Its upstream.
    address: String,
    port: Option<u16>,
}

impl Encoder {
    pub(super) fn new(routes: &[Route]) -> Self {
        let taking = |route: &Route| Taking {
            name: route.name.clone(),
            // Not the upstream's own path, in which some put a token.
            path: route.prefix.clone().unwrap_or_else(|| "/".to_owned()),
            address: route.upstream.host().unwrap_or_default().to_owned(),
            port: route.upstream.port_u16(),
        };
        Self(routes.iter().map(taking).collect())
    }

    pub(super) fn encode(&self, batch: &[Finished]) -> Vec<u8> {
        let version = || env!("CARGO_PKG_VERSION").to_owned();
        let mut resource = Attributes::default();
        resource.text("service.name", env!("CARGO_PKG_NAME"));
        resource.text("service.version", version());
        let scope = Scope { name: env!("CARGO_PKG_NAME").to_owned(), version: version() };
        let spans = batch.iter().map(|finished| self.span(finished)).collect();
        let export = Export {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource { attributes: resource.0 }),
                scope_spans: vec![ScopeSpans { scope: Some(scope), spans }],
            }],
        };
        export.encode_to_vec()
    }

    fn span(&self, it: &Finished) -> Span {
        let end = it.time + it.duration;
        let failed = it.failed.is_some() || it.status.is_some_and(|status| status >= 500);
        let remote = if it.span.parent.is_some() { REMOTE } else { 0 };
        let taking = self.0.iter().find(|taking| Some(&*taking.name) == it.route.as_deref());
        Span {
            trace_id: bytes(it.span.trace.as_str().as_bytes()),
            span_id: bytes(&it.span.id),
            parent_span_id: it.span.parent.map(|parent| bytes(&parent)).unwrap_or_default(),
            name: name(it, taking),
            kind: SERVER,
            start_time_unix_nano: nanoseconds(it.time),
            end_time_unix_nano: nanoseconds(end),
            attributes: attributes(it, taking),
            // Left out is "unset".
            status: failed.then_some(Status { code: ERROR }),
            flags: FLAGS | remote,
        }
    }
}

/// As the conventions of MCP have it, or else those of HTTP.
fn name(it: &Finished, taking: Option<&Taking>) -> String {
    match (&it.subject.method, target(it), taking) {
        (Some(method), Some((_, name)), _) => format!("{method} {name}"),
        (Some(method), None, _) => method.to_string(),
        (None, _, Some(taking)) => format!("{} {}", verb(it.method, "HTTP"), taking.path),
        (None, _, None) => verb(it.method, "HTTP").to_owned(),
    }
}

/// The tool or the prompt, and the attribute that it is. A resource's URI is left out: it has a path.
fn target(it: &Finished) -> Option<(&'static str, &str)> {
    let attribute = match it.subject.method.as_deref()? {
        "tools/call" => "gen_ai.tool.name",
        "prompts/get" => "gen_ai.prompt.name",
        _ => return None,
    };
    it.subject.name.as_deref().map(|name| (attribute, name))
}

fn attributes(it: &Finished, taking: Option<&Taking>) -> Vec<Attribute> {
    let mut all = Attributes::default();
    all.text("http.request.method", verb(it.method, "_OTHER"));
    if let Some(status) = it.status {
        all.number("http.response.status_code", status);
    }
    if let Some(taking) = taking {
        all.text("http.route", &*taking.path);
        all.text("countersign.route", &*taking.name);
        all.text("server.address", &*taking.address);
        if let Some(port) = taking.port {
            all.number("server.port", port);
        }
    }
    if let Some(method) = &it.subject.method {
        all.text("mcp.method.name", &**method);
        if &**method == "tools/call" {
            all.text("gen_ai.operation.name", "execute_tool");
        }
    }
    if let Some((attribute, name)) = target(it) {
        all.text(attribute, name);
    }
    let outcome = match it.outcome {
        Outcome::Answered => "answered",
        Outcome::Failed => "failed",
        Outcome::Aborted => "aborted",
    };
    all.text("countersign.outcome", outcome);
    match (it.failed, it.status) {
        (Some((stage, rule)), _) => {
            all.text("error.type", stage);
            if let Some(rule) = rule.filter(|rule| *rule != stage) {
                all.text("countersign.rule", rule);
            }
        }
        (None, Some(status @ 500..)) => all.text("error.type", status.to_string()),
        _ => {}
    }
    all.0
}

#[derive(Default)]
struct Attributes(Vec<Attribute>);

impl Attributes {
    fn text(&mut self, key: &str, text: impl Into<String>) {
        self.put(key, Value::Text(text.into()));
    }

    fn number(&mut self, key: &str, number: u16) {
        self.put(key, Value::Number(number.into()));
    }

    fn put(&mut self, key: &str, value: Value) {
        let value = Some(AnyValue { value: Some(value) });
        self.0.push(Attribute { key: key.to_owned(), value });
    }
}

/// The method of HTTP, or what the conventions have for one that nobody knows.
fn verb(method: &'static str, unknown: &'static str) -> &'static str {
    if method == "other" { unknown } else { method }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// The bytes behind hexadecimal digits; nothing else is ever an id.
fn bytes(digits: &[u8]) -> Vec<u8> {
    let value = |digit: u8| if digit <= b'9' { digit & 15 } else { (digit & 15) + 9 };
    digits.chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}
