//! The demo's MCP server: three tools, a resource and a prompt over Streamable HTTP.
//!
//! It keeps to revision 2025-11-25 (and 2025-06-18): sessions by id, a stream for GET, progress
//! by server-sent events. It knows its caller from the gateway alone and keeps nothing but the
//! ids of its sessions.

mod offers;

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::offers::Reply;

/// Where it is found.
pub(super) const PATH: &str = "/mcp";
/// The header that names a session.
pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The revisions it speaks, the newest first.
const VERSIONS: [&str; 2] = ["2025-11-25", "2025-06-18"];

const PARSE_ERROR: i64 = -32_700;

/// The body of a response.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Who calls, as the gateway found out.
pub(super) struct Caller<'a> {
    /// The subject of the client certificate.
    pub(super) subject: &'a str,
    /// The tenant that the request names.
    pub(super) tenant: &'a str,
}

/// The server, with the sessions that are open.
#[derive(Default)]
pub(super) struct Server {
    sessions: Mutex<HashSet<String>>,
}

/// A message of the client; a response or a notification has no id and method both.
#[derive(Deserialize)]
struct Message {
    id: Option<Value>,
    method: Option<String>,
    #[serde(default)]
    params: Value,
}

/// A message to the client: the answer to a request.
#[derive(Serialize)]
struct Answer<'a> {
    jsonrpc: &'static str,
    id: &'a Value,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Result(Value),
    Error { code: i64, message: String },
}

impl Server {
    /// Answers one request (2025-11-25 transports, "Streamable HTTP").
    pub(super) fn answer(&self, caller: &Caller<'_>, request: &Request<Bytes>) -> Response<Body> {
        if request.uri().path() != PATH {
            return status(StatusCode::NOT_FOUND);
        }
        let headers = request.headers();
        let done = match *request.method() {
            Method::POST => self.post(caller, headers, request.body()),
            Method::GET => self.session(headers).map(|_| events(stream::pending())),
            Method::DELETE => self.session(headers).map(|id| {
                self.sessions().remove(&id);
                status(StatusCode::NO_CONTENT)
            }),
            _ => Err(StatusCode::METHOD_NOT_ALLOWED),
        };
        done.unwrap_or_else(status)
    }

    fn post(
        &self,
        caller: &Caller<'_>,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Response<Body>, StatusCode> {
        let Ok(message) = serde_json::from_slice::<Message>(body) else {
            let message = "expected one JSON-RPC message".to_owned();
            let error = Outcome::Error { code: PARSE_ERROR, message };
            let mut refusal = json(&line(&Value::Null, error));
            *refusal.status_mut() = StatusCode::BAD_REQUEST;
            return Ok(refusal);
        };
        if message.method.as_deref() == Some("initialize") {
            return self.open(&message);
        }
        self.session(headers)?;
        // Nothing here waits for a notification or a response.
        let (Some(id), Some(method)) = (message.id, message.method) else {
            return Ok(status(StatusCode::ACCEPTED));
        };
        Ok(match offers::reply(&method, &message.params, caller) {
            Reply::Now(outcome) => json(&line(&id, outcome)),
            Reply::CountDown(count) => events(count.messages(id).map(event)),
        })
    }

    /// A new session, under an id that nobody can guess.
    fn open(&self, initialize: &Message) -> Result<Response<Body>, StatusCode> {
        let id = initialize.id.as_ref().ok_or(StatusCode::BAD_REQUEST)?;
        let wanted = initialize.params["protocolVersion"].as_str();
        let version = VERSIONS.into_iter().find(|known| wanted == Some(known));
        let session = super::random().ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
        let name = HeaderValue::from_maybe_shared(Bytes::from(session.clone()))
            .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        self.sessions().insert(session);
        let result = json!({
            "protocolVersion": version.unwrap_or(VERSIONS[0]),
            "capabilities": { "tools": {}, "resources": {}, "prompts": {} },
            "serverInfo": { "name": "countersign-demo", "version": env!("CARGO_PKG_VERSION") },
        });
        let mut opened = json(&line(id, Outcome::Result(result)));
        opened.headers_mut().insert(SESSION, name);
        Ok(opened)
    }

    /// The session that a request belongs to ("Session Management", "Protocol Version Header").
    fn session(&self, headers: &HeaderMap) -> Result<String, StatusCode> {
        let version = headers.get(VERSION);
        if version.is_some_and(|version| VERSIONS.iter().all(|known| version != known)) {
            return Err(StatusCode::BAD_REQUEST);
        }
        let id = headers.get(SESSION).ok_or(StatusCode::BAD_REQUEST)?;
        let id = id.to_str().map_err(|_| StatusCode::BAD_REQUEST)?;
        self.sessions().get(id).cloned().ok_or(StatusCode::NOT_FOUND)
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A response that is its status.
pub(super) fn status(status: StatusCode) -> Response<Body> {
    response(status, None, Full::default().boxed_unsync())
}

/// The answer to request `id`, without a line feed.
fn line(id: &Value, outcome: Outcome) -> String {
    let answer = Answer { jsonrpc: "2.0", id, outcome };
    // Strings and numbers always become JSON.
    serde_json::to_string(&answer).unwrap_or_default()
}

fn json(line: &str) -> Response<Body> {
    let body = Full::from(line.to_owned()).boxed_unsync();
    response(StatusCode::OK, Some("application/json"), body)
}

fn events(events: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    let frames = events.map(|event| Ok(Frame::data(event)));
    response(StatusCode::OK, Some("text/event-stream"), StreamBody::new(frames).boxed_unsync())
}

fn event(line: String) -> Bytes {
    Bytes::from(format!("event: message\ndata: {line}\n\n"))
}

fn response(status: StatusCode, kind: Option<&'static str>, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response
}

#[cfg(test)]
mod tests;
