//! What the upstream saw, in the order in which it saw it: connections, requests, what ran.
//! Tests wait on it and assert from it; a wait that is over its time says what was there.

use std::{
    fmt::{self, Write as _},
    slice,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Version, request};
use serde_json::Value;

use super::{Upstream, connection::Peer};

/// How long any wait for the upstream lasts.
pub const DEADLINE: Duration = Duration::from_secs(15);

/// One request, as it was received.
#[derive(Clone)]
pub struct Seen {
    /// Its place among all requests, from 0.
    pub number: usize,
    /// When its last byte was read.
    pub at: Instant,
    /// The connection it came on, from 0.
    pub connection: usize,
    /// The subject of the client's certificate: `CN=client`.
    pub client: Option<String>,
    pub version: Version,
    pub method: Method,
    /// Path and query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    document: Arc<Value>,
}

impl Seen {
    /// A request that was read whole, not yet numbered.
    pub fn new(peer: &Peer, head: request::Parts, body: Bytes) -> Self {
        Self {
            number: 0,
            at: Instant::now(),
            connection: peer.connection,
            client: peer.client.clone(),
            version: head.version,
            method: head.method,
            path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            headers: head.headers,
            document: Arc::new(serde_json::from_slice(&body).unwrap_or_default()),
            body,
        }
    }

    /// A header's value, the first if there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap_or("(not text)"))
    }

    /// The session it named.
    pub fn session(&self) -> Option<&str> {
        self.header("mcp-session-id")
    }

    /// The body as JSON; null if it is not.
    pub fn json(&self) -> &Value {
        &self.document
    }

    /// Its messages: one, or those of a batch.
    pub fn messages(&self) -> &[Value] {
        match &*self.document {
            Value::Null => &[],
            Value::Array(messages) => messages,
            message => slice::from_ref(message),
        }
    }

    /// Whether it holds a message of this method.
    pub fn is(&self, method: &str) -> bool {
        self.messages().iter().any(|message| message["method"] == method)
    }

    /// The id of its (first) message.
    pub fn id(&self) -> Value {
        self.messages().first().map_or(Value::Null, |message| message["id"].clone())
    }

    /// The tool it calls.
    pub fn tool(&self) -> Option<&str> {
        let call = self.messages().iter().find(|message| message["method"] == "tools/call")?;
        call["params"]["name"].as_str()
    }
}

/// One line: `#3 on 1 POST /mcp tools/call id 2, session 41.., 87 bytes`.
impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} on {} {} {}", self.number, self.connection, self.method, self.path)?;
        for message in self.messages() {
            let method = message["method"].as_str().unwrap_or("(response)");
            write!(f, " {method} id {}", message["id"])?;
        }
        write!(f, ", session {:?}, {} bytes", self.session(), self.body.len())
    }
}

/// One accepted connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its place among all, from 0.
    pub number: usize,
    /// When it was accepted.
    pub at: Instant,
    /// The subject of the client's certificate.
    pub client: Option<String>,
    /// What ALPN chose: `h2`, `http/1.1`.
    pub alpn: Option<String>,
    /// `TLSv1_3`...; nothing without TLS or before the handshake is done.
    pub tls: Option<String>,
    /// Why the server gave up the handshake.
    pub refused: Option<String>,
    /// Whether it still stands.
    pub open: bool,
}

/// All that was seen so far.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub requests: Vec<Seen>,
    pub connections: Vec<Connection>,
    /// The `n` of each call of `count` that ran, in order.
    pub ran: Vec<Value>,
    /// The numbers of the requests whose answers the client left before they ended.
    pub left: Vec<usize>,
}

/// The record as the server's side writes it and the test's side waits on it.
#[derive(Default)]
pub struct Recorder {
    record: Mutex<Record>,
    changed: Condvar,
}

impl Recorder {
    /// What `look` makes of the record as it is now.
    pub fn look<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.record.lock().unwrap())
    }

    /// Waits until `look` finds something; panics after [`DEADLINE`] with what was seen.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, mut look: impl FnMut(&Record) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut record = self.record.lock().unwrap();
        loop {
            if let Some(found) = look(&record) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let seen = account(&record);
                drop(record);
                panic!("the upstream waited {DEADLINE:?} for {what} and saw:\n{seen}");
            }
            record = self.changed.wait_timeout(record, left).unwrap().0;
        }
    }

    /// Writes to the record, and wakes who waits.
    pub fn note<T>(&self, write: impl FnOnce(&mut Record) -> T) -> T {
        let done = write(&mut self.record.lock().unwrap());
        self.changed.notify_all();
        done
    }

    /// A new connection's number.
    pub fn connected(&self) -> usize {
        self.note(|record| {
            let number = record.connections.len();
            record.connections.push(Connection {
                number,
                at: Instant::now(),
                client: None,
                alpn: None,
                tls: None,
                refused: None,
                open: true,
            });
            number
        })
    }

    /// Records a request, and numbers it.
    pub fn request(&self, mut seen: Seen) -> Seen {
        self.note(|record| {
            seen.number = record.requests.len();
            record.requests.push(seen.clone());
        });
        seen
    }
}

/// The record in words, for a test that failed.
fn account(record: &Record) -> String {
    let mut words = String::new();
    for connection in &record.connections {
        let _ = writeln!(words, "  {connection:?}");
    }
    for seen in &record.requests {
        let _ = writeln!(words, "  {seen:?}");
    }
    let _ = write!(words, "  answers left by the client: {:?}", record.left);
    words
}

/// What was seen, and waiting for it.
impl Upstream {
    /// All that was seen so far.
    pub fn record(&self) -> Record {
        self.shared.recorder.look(Record::clone)
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.recorder.look(|record| record.requests.clone())
    }

    /// The requests so far that hold a message of this method.
    pub fn posts(&self, method: &str) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(|seen| seen.is(method));
        seen
    }

    /// How often `count` ran with this `n`.
    pub fn ran(&self, n: impl Into<Value>) -> usize {
        let n = n.into();
        self.shared.recorder.look(|record| record.ran.iter().filter(|ran| **ran == n).count())
    }

    /// Waits until this is true of all requests so far, and returns them.
    #[track_caller]
    pub fn wait_for(&self, look: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        self.wait("requests", |record| look(&record.requests).then(|| record.requests.clone()))
    }

    /// Waits for the first request of which this is true.
    #[track_caller]
    pub fn wait_for_request(&self, is: impl Fn(&Seen) -> bool) -> Seen {
        self.wait("a request", |record| record.requests.iter().find(|seen| is(seen)).cloned())
    }

    /// Waits for the first POST that holds a message of this method.
    #[track_caller]
    pub fn wait_for_method(&self, method: &str) -> Seen {
        self.wait(method, |record| record.requests.iter().find(|seen| seen.is(method)).cloned())
    }

    /// Waits until a client listens on a GET stream.
    #[track_caller]
    pub fn wait_for_listener(&self) {
        self.wait("a GET stream", |_| {
            let sessions = self.shared.mcp.sessions();
            sessions.values().any(|session| session.listen.has_reader()).then_some(())
        });
    }

    /// Waits until the client has left this request's answer before its end: a closed stream.
    #[track_caller]
    pub fn wait_until_left(&self, request: &Seen) {
        let number = request.number;
        self.wait("the client to leave an answer", |record| {
            record.left.contains(&number).then_some(())
        });
    }

    /// Waits until `look` finds something in the record.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, look: impl FnMut(&Record) -> Option<T>) -> T {
        self.shared.recorder.wait(what, look)
    }
}
